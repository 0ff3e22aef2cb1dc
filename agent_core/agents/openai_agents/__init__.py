"""An `Agent` of OpenAI's Agents SDK as an agent of this core.

The library is not a dependency: this is imported only where the operator's own module has loaded it.
"""

from agent_core.agents.openai_agents.adapter import OpenAIAgent, adapt

__all__ = ["OpenAIAgent", "adapt"]
