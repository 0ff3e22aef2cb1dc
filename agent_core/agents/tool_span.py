"""Spans of tool calls, with the names of the GenAI conventions.

Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md#execute-tool-span
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from opentelemetry.trace import SpanKind, Status, StatusCode

from agent_core.agents.events import AgentError
from tokenwire.telemetry import tracer
from tokenwire.telemetry.attributes import (
    CANCELLED,
    ERROR_TYPE,
    GEN_AI_OPERATION_NAME,
    GEN_AI_TOOL_CALL_ID,
    GEN_AI_TOOL_NAME,
)

EXECUTE_TOOL: Final = "execute_tool"


class ToolSpan:
    """The span `execute_tool {tool}` around one call of a tool in this process.

    Its parent is the span that is current when it is made; it is never current itself. Leaving the
    context ends it and records how it ended.

    Args:
        tool: The tool's name.
        call_id: Names the call within its run.
    """

    def __init__(self, tool: str, call_id: str) -> None:
        self._span = tracer().start_span(
            f"{EXECUTE_TOOL} {tool}",
            kind=SpanKind.INTERNAL,
            attributes={
                GEN_AI_OPERATION_NAME: EXECUTE_TOOL,
                GEN_AI_TOOL_NAME: tool,
                GEN_AI_TOOL_CALL_ID: call_id,
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._span.set_attribute(CANCELLED, True)
        elif error is not None:
            name = error.code if isinstance(error, AgentError) else type(error).__qualname__
            self._span.set_attribute(ERROR_TYPE, name)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()
