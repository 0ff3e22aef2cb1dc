"""A compiled graph of LangGraph's as an agent of this core."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from agent_core.agents.events import AgentEvent, Custom, Finish, FinishReasonName, RunRequest
from agent_core.agents.foreign import NotAdaptableError, Telling, json_value
from agent_core.agents.langchain.adapter import config_of
from agent_core.agents.langchain.messages import (
    ModelTally,
    is_message,
    messages_of,
    reasoning_of,
    text_of,
    tool_result,
)

MODES: Final = ("messages", "updates", "custom")
"""What is asked of a graph: tokens and tool results, what each node gave, what nodes tell by themselves."""

INTERRUPT: Final = "__interrupt__"

LINES: Final = """\
    async def my_agent(request):
        async for chunk, _ in graph.astream({...: request.message}, stream_mode="messages"):  # your state
            yield chunk.text
"""


class LangGraphAgent:
    """An agent that is a graph whose state has `messages`.

    Args:
        graph: Theirs, compiled.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Return the events of a run."""
        return self.run(request)

    async def run(self, request: RunRequest) -> AsyncGenerator[AgentEvent]:
        """Yield the events of a run, each as soon as it is there.

        Raises:
            ModelCallError: Its last answer was cut off or withheld.
        """
        translation = Translation()
        recursion: Any = importlib.import_module("langgraph.errors").GraphRecursionError
        reason: FinishReasonName | None = None
        stream = self._graph.astream(
            {"messages": messages_of(request)}, config_of(request), stream_mode=[*MODES], subgraphs=True
        )
        async with aclosing(stream) as parts:
            try:
                async for _, mode, data in parts:
                    for event in translation.feed(mode, data):
                        yield event
            except recursion:
                reason = "tool_limit"  # more steps than its recursion_limit, which tools are made of
        yield Finish(reason or translation.tally.finish(), translation.tally.usage)


class Translation:
    """What a graph streams as the events of an agent. No I/O, no waiting."""

    def __init__(self) -> None:
        self.tally = ModelTally()
        self._telling = Telling()

    def feed(self, mode: str, data: Any) -> Iterator[AgentEvent]:
        """Yield what a part of the stream means: mostly one event, often none."""
        if mode == "messages":
            yield from self._message(data[0])
        elif mode == "updates":
            yield from self._update(data)
        else:
            yield Custom("custom", json_value(data))

    def _message(self, message: Any) -> Iterator[AgentEvent]:
        """Yield a piece of an answer, a whole one, or a tool's result; nothing of what the user said."""
        if message.type == "tool":
            yield from tool_result(self._telling, message.tool_call_id, message.name or "tool", message)
        elif message.type in {"ai", "AIMessageChunk"}:
            self.tally.count(message)
            self.tally.end(message)
            yield from self._telling.reasoning(reasoning_of(message))
            yield from self._telling.text(text_of(message))

    def _update(self, update: Mapping[str, Any]) -> Iterator[AgentEvent]:
        """Yield the tool calls that a model asks for, before they are made, and what is asked of a user."""
        for node, given in update.items():
            if node == INTERRUPT:
                for asked in given:
                    yield Custom("interrupt", json_value(asked.value))
                continue
            for message in _messages_in(given):
                for call in getattr(message, "tool_calls", None) or ():
                    yield from self._telling.tool_start(call["id"] or "", call["name"], call["args"])


def adapt(found: object) -> object:
    """Return what an operator's module holds, a compiled graph adapted.

    Raises:
        NotAdaptableError: It is not compiled, or its state has no `messages`.
    """
    if callable(getattr(found, "compile", None)) and not hasattr(found, "astream"):
        raise NotAdaptableError("the graph is not compiled: name what its compile() returns")
    channels = getattr(found, "channels", None)
    if not isinstance(channels, Mapping) or not hasattr(found, "astream"):
        return found
    if "messages" not in channels:
        raise NotAdaptableError(
            "its state has no `messages`, where a question would go. "
            "Three lines make an agent of it, which --agent then names",
            LINES,
        )
    return LangGraphAgent(found)


def _messages_in(given: Any) -> Iterable[Any]:
    """Return the messages in what a node gave: under whatever name its state has for them."""
    values = given.values() if isinstance(given, Mapping) else ()
    lists = (value if isinstance(value, list | tuple) else [value] for value in values)
    return [message for messages in lists for message in messages if is_message(message)]
