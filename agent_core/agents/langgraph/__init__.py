"""LangGraph's compiled graphs as agents of this core.

The library is not a dependency: this is imported only where the operator's own module has loaded it.
"""

from agent_core.agents.langgraph.adapter import LangGraphAgent, adapt

__all__ = ["LangGraphAgent", "adapt"]
