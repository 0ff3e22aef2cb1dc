"""Objects of agent libraries, as agents of this core: found by where their class comes from.

No library is imported for it: an object of one has had its library loaded by the operator's own module.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any, Final

from agent_core.agents.events import (
    AgentEvent,
    JsonText,
    JsonValue,
    ReasoningDelta,
    TextDelta,
    ToolResult,
    ToolStart,
)

ADAPTERS: Final = (
    ("pydantic_ai", "agent_core.agents.pydantic_ai"),
    ("langgraph", "agent_core.agents.langgraph"),  # a graph is a runnable as well
    ("langchain_core", "agent_core.agents.langchain"),
    ("agents.agent", "agent_core.agents.openai_agents"),
)
"""The module, or what it lies in, that defines a class of the library, and the adapter of its objects, with a
function `adapt`. The first that fits is taken. `agents` is what OpenAI's Agents SDK calls itself."""

MAX_SHOWN: Final = 256 * 1024
"""Characters of JSON that an event shows of a tool's arguments or result. The model gets it all."""

MAX_SHOWN_BYTES: Final = 3 * MAX_SHOWN
"""The same in bytes of UTF-8, with what JSON escapes: an event holds less than 1 MiB."""


class NotAdaptableError(Exception):
    """An object of a known library can't be an agent as it is.

    Args:
        why: What is wrong with it.
        lines: What makes an agent of it.
    """

    def __init__(self, why: str, lines: str = "") -> None:
        super().__init__(f"{why}.\n{lines.rstrip()}\n" if lines else why)


def adapted(found: object) -> object:
    """Return what an operator's module holds; an object of a library that is known here as an agent.

    Raises:
        NotAdaptableError: It is such an object, and can't be an agent as it is.
    """
    for library, module in ADAPTERS:
        if any(f"{cls.__module__}.".startswith(f"{library}.") for cls in type(found).__mro__):
            # By name: runs import what is beside this, and know nothing of what agents are made with.
            result: object = importlib.import_module(module).adapt(found)
            return result
    return found


class Telling:
    """What a library's run tells, as events: tool calls paired, paragraphs kept apart. No I/O."""

    def __init__(self) -> None:
        self._has_text = False
        self._new_paragraph = False
        self._open: dict[str, str] = {}
        self._told: set[str] = set()

    def text(self, content: str) -> Iterator[AgentEvent]:
        """Yield a piece of the answer. What is said after tools were used begins a new paragraph."""
        if content:
            apart = "\n\n" if self._has_text and self._new_paragraph else ""
            self._has_text, self._new_paragraph = True, False
            yield TextDelta(apart + content)

    @property
    def has_text(self) -> bool:
        """Whether any text was told."""
        return self._has_text

    @staticmethod
    def reasoning(content: str) -> Iterator[AgentEvent]:
        """Yield a piece of what the model thought."""
        if content:
            yield ReasoningDelta(content)

    def tool_start(self, call_id: str, tool: str, args: object) -> Iterator[AgentEvent]:
        """Yield the beginning of a tool call: once, however often it is told."""
        if call_id and call_id not in self._told:
            self._told.add(call_id)
            self._open[call_id] = tool
            yield ToolStart(call_id, tool, json_value(args))

    def tool_result(
        self, call_id: str, tool: str, result: object, *, is_error: bool = False
    ) -> Iterator[AgentEvent]:
        """Yield the end of a tool call, and its beginning where nobody has told it."""
        yield from self.tool_start(call_id, tool, None)
        if (started := self._open.pop(call_id, None)) is not None:
            self._new_paragraph = True
            yield ToolResult(call_id, started, json_value(result), is_error)


def json_value(value: object) -> JsonValue:
    """Return what JSON holds of a value: texts that are JSON as what they say, anything else as its text."""
    if isinstance(value, str):
        try:
            found = json.loads(value, parse_constant=_no_number)
        except (ValueError, RecursionError):  # the latter where it is too deep to be read
            found = None
        if not isinstance(found, dict | list):
            return shown(value.encode("utf-8", "replace").decode())
        value = found
    try:
        text = json.dumps(value, default=_dumped, ensure_ascii=False, skipkeys=True)
    except (ValueError, RecursionError):  # it contains itself
        text = json.dumps(f"a {type(value).__qualname__}")
    if len(text) > MAX_SHOWN:
        return shown(JsonText(text))
    result: JsonValue = json.loads(text.encode("utf-8", "replace"), parse_constant=_no_number)
    return result


def shown(value: JsonValue) -> JsonValue:
    """Return JSON text, or what is told in place of one that is too large for an event."""
    if isinstance(value, str) and (len(value) > MAX_SHOWN or _size_bytes(value) > MAX_SHOWN_BYTES):
        return f"{len(value)} characters: too many to show here."
    return value


def _size_bytes(value: str) -> int:
    """Return how long a text is as JSON; one that is short in any case is not looked at."""
    longest_escape = 6
    if isinstance(value, JsonText) or len(value) * longest_escape <= MAX_SHOWN_BYTES:
        return len(value.encode("utf-8", "replace"))
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _dumped(value: Any) -> object:
    """Return an object as what JSON can hold: a model of Pydantic's as its fields, else its text."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) and not isinstance(value, type) else str(value)


def _no_number(_: str) -> None:
    """Stand for NaN and the infinities, which JSON has not."""
