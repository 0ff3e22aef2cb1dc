"""Agents: what one is, and the ones that come with the core."""

from agent_core.agents.events import (
    Agent,
    AgentError,
    AgentEvent,
    Custom,
    Finish,
    JsonText,
    JsonValue,
    Progress,
    ReasoningDelta,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
    Turn,
    Usage,
)

__all__ = [
    "Agent",
    "AgentError",
    "AgentEvent",
    "Custom",
    "Finish",
    "JsonText",
    "JsonValue",
    "Progress",
    "ReasoningDelta",
    "RunRequest",
    "TextDelta",
    "ToolResult",
    "ToolStart",
    "Turn",
    "Usage",
]
