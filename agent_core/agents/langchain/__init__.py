"""LangChain's runnables (chains, chat models) as agents of this core.

The library is not a dependency: this is imported only where the operator's own module has loaded it.
"""

from agent_core.agents.langchain.adapter import LangChainAgent, adapt

__all__ = ["LangChainAgent", "adapt"]
