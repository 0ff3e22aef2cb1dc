"""Scripted agents: fakes at the rim, where a model would be. Everything behind them is the real thing.

With TOKENWIRE_TEST_JOURNAL naming a file, each appends a JSON line when it starts and when it ends:
`{"agent", "run_id", "event": "started"|"cancelled"|"finished"|"failed", "monotonic"}`,
with "error", the exception's name, where one ended it.
"""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from opentelemetry import trace

from agent_core.agents import (
    AgentError,
    AgentEvent,
    Custom,
    Finish,
    JsonText,
    Progress,
    ReasoningDelta,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
    Usage,
)
from tests.support.asking_agents import asks as asks  # noqa: PLC0414 # offered with the others

JOURNAL = "TOKENWIRE_TEST_JOURNAL"

SCRIPTED_TEXT = "Apples, pears and plums."
"""What `scripted` says."""

RICH_TEXT = (
    "Grüße, 世界! ",
    "🍐",
    "👩\u200d👩\u200d👧",
    " two\n\nlines,\r\na carriage\rreturn ",
    "data: no field\n\nid: nobody.1.99\n\n",
    'and "quoted" \\ \u2028\u2029\u0000 ',
    "e\u0301nd",
)
"""What `rich` says, delta by delta: all that could be torn or mistaken on the way."""


@contextmanager
def journal(agent: str, request: RunRequest) -> Iterator[None]:
    """Write down when an agent starts, and how it ends."""
    _write(agent, request, "started")
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit) as error:
        _write(agent, request, "cancelled", error)
        raise
    except BaseException as error:
        _write(agent, request, "failed", error)
        raise
    else:
        _write(agent, request, "finished")


def _write(agent: str, request: RunRequest, event: str, error: BaseException | None = None) -> None:
    path = os.environ.get(JOURNAL)
    if path:
        entry = {"agent": agent, "run_id": request.run_id, "event": event, "monotonic": time.monotonic()}
        if error is not None:
            entry["error"] = type(error).__name__
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


async def scripted(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield every kind of event in a sequence that a real agent could have, with short delays."""
    with journal("scripted", request):
        yield Progress(0, "Looking for fruit", step="search")
        await asyncio.sleep(0.01)
        yield ReasoningDelta("The user wants fruit.", 5)
        await asyncio.sleep(0.01)
        yield ToolStart("call-1", "search", {"query": request.message, "limit": 3})
        await asyncio.sleep(0.02)
        yield Progress(50, "Reading what was found", step="read")
        yield ToolResult(
            "call-1", "search", JsonText('{"found":["apple","pear","plum"],"total":12345678901234567890}')
        )
        yield ToolStart("call-2", "price", {"of": "plum"})
        await asyncio.sleep(0.01)
        yield ToolResult("call-2", "price", "no such market", is_error=True)
        yield Custom("chart", {"bars": [3, 2, 1]})
        yield Progress(100, "Answering")
        for piece in ("Apples", ",", " pears", " and"):
            await asyncio.sleep(0.005)
            yield piece
        yield TextDelta(" plums.", 2)
        yield Finish("stop", Usage(input_tokens=11, output_tokens=6))


async def rich(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield every kind of event, some at once and some apart, with characters that are hard to carry."""
    with journal("rich", request):
        yield Progress(0, "Suche 🔎", step="search")
        yield ReasoningDelta("Hm…\n\n", 1)
        yield ReasoningDelta("梨!", 2)
        await asyncio.sleep(0.01)
        yield ToolStart("call-1", "search", {"query": "Birnen & 梨\n", "limit": 3})
        yield Progress(50, "Lese", step="read")
        yield ToolResult("call-1", "search", JsonText('{"found":["Birne 🍐"],"line":"a\\nb"}'))
        await asyncio.sleep(0.01)
        for piece in RICH_TEXT[:3]:
            yield piece
        await asyncio.sleep(0.01)
        yield Custom("chart", {"bars": [3, 2, 1], "título": "Fruta\n"})
        yield ToolStart("call-2", "price", {"of": "plum"})
        yield ToolResult("call-2", "price", "kein Markt", is_error=True)
        for piece in RICH_TEXT[3:]:
            await asyncio.sleep(0.005)
            yield piece
        yield Finish("stop", Usage(input_tokens=11, output_tokens=7))


async def slow(request: RunRequest) -> AsyncIterator[str]:
    """Say one word, then a number every 50 ms, for an hour."""
    with journal("slow", request):
        yield "Slow"
        for number in range(72_000):
            await asyncio.sleep(0.05)
            yield f" {number}"


async def thinks(request: RunRequest) -> AsyncIterator[str]:
    """Keep a span current across all that it says, as instrumented libraries do."""
    with journal("thinks", request), trace.get_tracer("agent").start_as_current_span("think"):
        yield "Hm"
        for number in range(72_000):
            with trace.get_tracer("agent").start_as_current_span("thought"):
                await asyncio.sleep(0.005)
                yield f" {number}"


async def silent(request: RunRequest) -> AsyncIterator[str]:
    """Say nothing for an hour, as a model does that reads a long prompt."""
    with journal("silent", request):
        await asyncio.sleep(3600)
        yield "never said"


async def echo(request: RunRequest) -> AsyncIterator[str]:
    """Say what was asked, word by word."""
    with journal("echo", request):
        for word in request.message.split(" "):
            await asyncio.sleep(0)
            yield word + " "


async def halves(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield emojis in halves, as `json.loads` gives them of two deltas; the last one never comes whole."""
    with journal("halves", request):
        for escaped in ('"Hi \\ud83d"', '"\\ude00"', '"!\\ud83d"'):
            yield ReasoningDelta(json.loads(escaped))
            yield json.loads(escaped)


async def counts(request: RunRequest) -> AsyncIterator[str]:
    """Say so many numbers, one every so many milliseconds: the message is "COUNT MILLISECONDS"."""
    with journal("counts", request):
        count, every_ms = map(int, request.message.split())
        for number in range(count):
            await asyncio.sleep(every_ms / 1000)
            yield f"{number} "


async def hurries(request: RunRequest) -> AsyncIterator[str]:
    """Say how many seconds are left."""
    with journal("hurries", request):
        yield str(request.remaining_s())


async def recalls(request: RunRequest) -> AsyncIterator[str]:
    """Say what the session remembers, a line a turn."""
    with journal("recalls", request):
        for turn in request.history:
            yield f"{turn.role}: {turn.content}\n"


called: dict[str, list[float]] = {}
"""When the agents of a run called their tool, in seconds of the monotonic clock, by the run's id."""


async def tools(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Call a tool every 20 ms, for an hour, with a word before each call."""
    calls = called.setdefault(request.run_id, [])
    with journal("tools", request):
        for number in range(180_000):
            yield f"word{number} "
            yield ToolStart(f"call-{number}", "act")
            calls.append(time.monotonic())
            yield ToolResult(f"call-{number}", "act", number)
            await asyncio.sleep(0.02)


async def blocks(request: RunRequest) -> AsyncIterator[str]:
    """Keep the whole event loop for so many seconds: the message says how many."""
    with journal("blocks", request):
        yield "Wait"
        time.sleep(float(request.message))  # noqa: ASYNC251 # what must not be done
        yield " no more"


async def flood(request: RunRequest) -> AsyncIterator[str]:
    """Yield for ever without ever waiting."""
    with journal("flood", request):
        while True:
            yield "drop "


async def raises_before(request: RunRequest) -> AsyncIterator[str]:
    """Raise before the first event, with a text that no user may see."""
    with journal("raises_before", request):
        raise RuntimeError("secret of raises_before")
        yield ""


async def raises_after(request: RunRequest) -> AsyncIterator[str]:
    """Say something, then raise with a text that no user may see."""
    with journal("raises_after", request):
        yield "Well"
        await asyncio.sleep(0.01)
        raise RuntimeError("secret of raises_after")


_failed_sessions: set[str] = set()
"""The sessions whose first answer `fails_first` has failed."""


async def fails_first(request: RunRequest) -> AsyncIterator[str]:
    """Fail a session's first answer in its middle, as one that may be asked again; give the others whole."""
    with journal("fails_first", request):
        yield "Plums"
        if request.session_id not in _failed_sessions:
            _failed_sessions.add(request.session_id)
            raise AgentError("UNAVAILABLE", "The fruit is out.", retryable=True)
        yield " are back."


async def refuses(request: RunRequest) -> AsyncIterator[str]:
    """Raise what is meant for the user."""
    with journal("refuses", request):
        yield "Let me see"
        details = {"provider": "fruit"}
        raise AgentError("RESOURCE_EXHAUSTED", "Too many fruits.", retryable=True, details=details)


async def says_nothing(request: RunRequest) -> AsyncIterator[str]:
    """End without a word."""
    with journal("says_nothing", request):
        return
        yield ""


async def yields_rubbish(request: RunRequest) -> AsyncIterator[object]:
    """Yield what is no event."""
    with journal("yields_rubbish", request):
        yield "So far so good"
        yield 42


def no_generator(request: RunRequest) -> Coroutine[object, object, str]:
    """Return a coroutine, which looking at this function does not tell."""

    async def answer() -> str:
        return f"all at once: {request.message}"

    return answer()


def no_iterator(request: RunRequest) -> object:
    """Return what can't be iterated over."""
    del request
    return object()


async def cancels_itself(request: RunRequest) -> AsyncIterator[str]:
    """Raise CancelledError without having been cancelled."""
    with journal("cancels_itself", request):
        yield "Hm"
        raise asyncio.CancelledError


async def exits(request: RunRequest) -> AsyncIterator[str]:
    """Try to end the whole process."""
    with journal("exits", request):
        yield "Bye"
        raise SystemExit(3)


async def raises_when_cancelled(request: RunRequest) -> AsyncIterator[str]:
    """Answer a cancellation with a failure."""
    with journal("raises_when_cancelled", request):
        yield "Wait"
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            raise RuntimeError("can't clean up") from error


async def swallows_cancel(request: RunRequest) -> AsyncIterator[str]:
    """Go on and speak after having been cancelled."""
    _write("swallows_cancel", request, "started")
    yield "I stay"
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        _write("swallows_cancel", request, "cancelled")
    yield " and go on"
    await asyncio.sleep(3600)


release = threading.Event()
"""Lets `stuck` go."""


async def stuck(request: RunRequest) -> AsyncIterator[str]:
    """Never stop, whatever is thrown in, until `release` is set; then speak once more."""
    _write("stuck", request, "started")
    yield "I am stuck"
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            _write("stuck", request, "cancelled")
    yield " too late"


class Resource:
    """An agent that must be entered: says whether it was."""

    model = "resource-1"

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def __aenter__(self) -> Self:
        self.steps.append("entered")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.steps.append("left")

    async def __call__(self, request: RunRequest) -> AsyncIterator[str]:
        self.steps.append("asked")
        with journal("resource", request):
            yield self.steps[0]


class Broken(Resource):
    """An agent that can't be entered."""

    async def __aenter__(self) -> Self:
        raise OSError("no such model")


class Late(Resource):
    """An agent that takes an hour to get ready."""

    async def __aenter__(self) -> Self:
        logging.getLogger(__name__).warning("late gets ready")
        await asyncio.sleep(3600)
        return self


resource = Resource()
late = Late()
broken = Broken()
