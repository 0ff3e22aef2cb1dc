"""The configured model: any endpoint that speaks OpenAI's Chat Completions.

Import from its modules: all but `settings` need Pydantic AI, which takes seconds to load.
"""
