"""Agents of all kinds, read as streams."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from agent_core.agents import AgentError, RunRequest, TextDelta
from agent_core.log.budget import LogBudget
from agent_core.log.memory.log import MemoryLog
from agent_core.runs import agent_thread
from agent_core.runs.agent_stream import close_stream, may_block, open_stream, place_of, throw_cancelled
from agent_core.runs.agent_thread import AgentThread
from agent_core.runs.failures import RubbishError
from agent_core.runs.reaper import Reaper

REQUEST = RunRequest("hi", run_id="r1")
CALLER: ContextVar[str] = ContextVar("CALLER", default="nobody")


async def read(agent: Any) -> list[object]:
    return [item async for item in open_stream(agent, REQUEST)]


def function(request: RunRequest) -> str:
    return request.message


async def coroutine(request: RunRequest) -> TextDelta:
    return TextDelta(request.message)


async def two(_: RunRequest) -> AsyncIterator[str]:
    yield "a"
    yield "b"


async def coroutine_of_a_generator(request: RunRequest) -> AsyncIterator[str]:
    return two(request)


def function_of_a_generator(request):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 # as users write
    return two(request)


def generator(_: RunRequest) -> Iterator[str]:
    yield "a"
    yield "b"


class Called:
    def __call__(self, request: RunRequest) -> Iterator[str]:
        yield from generator(request)


@pytest.mark.parametrize(
    ("agent", "items"),
    [
        (function, ["hi"]),
        (coroutine, [TextDelta("hi")]),
        (two, ["a", "b"]),
        (coroutine_of_a_generator, ["a", "b"]),
        (function_of_a_generator, ["a", "b"]),
        (generator, ["a", "b"]),
        (partial(partial(generator)), ["a", "b"]),
        (Called(), ["a", "b"]),
        (lambda _: iter(["x"]), ["x"]),
        (lambda _: "", [""]),
    ],
)
async def test_an_agent_of_any_kind_is_read_to_its_end(agent: Any, items: list[object]) -> None:
    """What it returns is its whole answer, or yields it."""
    assert await read(agent) == items


@pytest.mark.parametrize("given", [None, {"text": "hi"}, ["a"], b"hi", str])
async def test_what_is_neither_text_nor_an_event_is_refused_with_the_agents_place(given: object) -> None:
    """The line says what came back, what should have, and which function gave it."""

    async def agent(_: RunRequest) -> object:
        return given

    with pytest.raises(RubbishError, match=r"the agent returned .*: return text, or yield events") as raised:
        await read(agent)
    assert f"({__file__}, line {agent.__code__.co_firstlineno})" in str(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("no"), StopIteration("no"), SystemExit(3)])
async def test_what_a_function_raises_ends_the_run(error: BaseException) -> None:
    """In its thread as anywhere: StopIteration, which no future holds, as a RuntimeError."""

    def agent(_: RunRequest) -> str:
        raise error

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected, match=r"no|3"):
        await read(agent)


async def test_a_generator_that_blocks_leaves_the_loop_free_and_keeps_its_thread() -> None:
    """All of it runs in one thread that is not the loop's, with the run's context."""
    free = threading.Event()
    seen = set()

    def agent(_: RunRequest) -> Iterator[str]:
        for _number in range(3):
            seen.add((threading.get_ident(), CALLER.get()))
            assert free.wait(10)
            yield "x"

    CALLER.set("me")
    reading = asyncio.create_task(read(agent))
    await asyncio.sleep(0.01)
    free.set()  # only a loop that goes on comes to this
    assert await reading == ["x", "x", "x"]
    ((thread, caller),) = seen
    assert thread != threading.get_ident()
    assert caller == "me"


async def test_a_stopped_generator_is_closed_between_two_items() -> None:
    """Its `finally` blocks run, and its thread ends."""
    closed = threading.Event()
    threads = []

    def agent(_: RunRequest) -> Iterator[str]:
        threads.append(threading.current_thread())
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    stream = open_stream(agent, REQUEST)
    assert await anext(stream) == "x"
    await throw_cancelled(stream, asyncio.CancelledError())
    await close_stream(stream)
    assert await asyncio.to_thread(closed.wait, 10)
    await asyncio.to_thread(threads[0].join, 10)
    assert not threads[0].is_alive()


async def test_stop_does_not_wait_for_code_that_blocks() -> None:
    """The run ends at once; the generator is closed when it comes to its next yield."""
    go_on, closed = threading.Event(), threading.Event()

    def agent(_: RunRequest) -> Iterator[str]:
        try:
            yield "x"
            go_on.wait(20)
            yield "never read"
        finally:
            closed.set()

    async def pump() -> None:
        async with aclosing(open_stream(agent, REQUEST)) as stream:  # type: ignore[type-var]
            async for _ in stream:  # type: ignore[attr-defined]
                pass

    task = asyncio.create_task(pump())
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert time.monotonic() - begun < 10
    assert not closed.is_set()
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_core_waits_for_what_stopped_generators_still_do(caplog: pytest.LogCaptureFixture) -> None:
    """Else their `finally` blocks would be cut off with the process. What hangs is told, and left."""
    go_on, closed = threading.Event(), threading.Event()

    def agent(_: RunRequest) -> Iterator[str]:
        try:
            yield "x"
        finally:
            go_on.wait(20)
            closed.set()

    stream = open_stream(agent, REQUEST)
    await anext(stream)
    await close_stream(stream)
    reaper = Reaper(MemoryLog(LogBudget()))
    await reaper.aclose()
    assert not closed.is_set()
    assert "1 agents that are not async did not stop" in caplog.text
    caplog.clear()
    go_on.set()
    await reaper.aclose()
    assert closed.is_set()
    assert not caplog.records


async def test_runs_that_are_stopped_again_and_again_do_not_use_up_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of an agent that blocks stay until it is done: then no more are begun."""
    monkeypatch.setattr(agent_thread, "MAX_BUSY", 3)
    go_on = threading.Event()

    def agent(_: RunRequest) -> str:
        go_on.wait(20)
        return "done"

    for _ in range(3):
        run = asyncio.create_task(read(agent))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait({run})
    with pytest.raises(AgentError) as refused:
        await read(agent)
    assert (refused.value.code, refused.value.retryable) == ("RESOURCE_EXHAUSTED", True)
    assert refused.value.details == {"reason": "AGENT_BUSY"}
    go_on.set()
    assert await AgentThread.busy(20) == 0
    assert await read(agent) == ["done"]


async def test_an_error_while_a_stopped_generator_is_closed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody else would hear of it."""

    def agent(_: RunRequest) -> Iterator[str]:
        try:
            yield "x"
        finally:
            raise OSError("the file is gone")

    stream = open_stream(agent, REQUEST)
    await anext(stream)
    thread = next(thread for thread in threading.enumerate() if thread.name == "agent of r1")
    await close_stream(stream)
    await asyncio.to_thread(thread.join, 10)
    assert "the file is gone" in caplog.text


def test_only_what_is_not_async_may_block() -> None:
    """An annotation counts as well: the call of a function that returns an iterator takes no time."""

    def annotated(request: RunRequest) -> AsyncIterator[str]:
        return two(request)

    assert [agent.__name__ for agent in (two, coroutine, annotated) if may_block(agent)] == []
    assert all(map(may_block, (function, generator, Called(), partial(function), lambda _: "x")))
    assert not may_block(dict)


async def test_a_generators_place_is_its_yield() -> None:
    """Before it has begun and after its end, and for all else: where it is defined."""
    stream = two(REQUEST)
    await anext(stream)
    first = two.__code__.co_firstlineno
    assert place_of(two, stream) == f"{__file__}, line {first + 1}"
    threaded = open_stream(Called(), REQUEST)
    await anext(threaded)
    assert place_of(Called(), threaded).startswith(f"{__file__}, line ")
    await close_stream(threaded)
    answer = open_stream(coroutine, REQUEST)
    await anext(answer)
    assert place_of(coroutine, answer) == f"{__file__}, line {coroutine.__code__.co_firstlineno}"
    await close_stream(answer)
    assert place_of(partial(two), None) == f"{__file__}, line {first}"
    assert place_of(len) == "a builtin_function_or_method"
