"""Pydantic AI's `Agent` as an agent of this core.

Nothing else imports the library, and this is imported only when an agent needs it: it takes seconds
and 80 MB that the embedded model has no use for.
"""

import os

# On a terminal the library's first run would print an advertisement into the core's log.
os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")

from agent_core.agents.pydantic_ai.adapter import PydanticAgent, adapt  # after the line above
from agent_core.agents.pydantic_ai.observer import ToolLimits

__all__ = ["PydanticAgent", "ToolLimits", "adapt"]
