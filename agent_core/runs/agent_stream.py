"""An agent's call as a stream that is always closed, and where its code stands.

Most agents are async generators. Those that are not are taken as well: an `async def` that returns its
answer, and what is not async at all, a generator or a function, which then runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any, Final, get_origin

from agent_core.agents.events import Agent, RunRequest
from agent_core.runs.agent_thread import AgentThread, ThreadedStream
from agent_core.runs.failures import RubbishError

_ASYNC: Final = (AsyncGenerator, AsyncIterator, AsyncIterable, Awaitable, Coroutine)
_ASYNC_NAMES: Final = tuple(kind.__name__ for kind in _ASYNC)


def open_stream(agent: Agent, request: RunRequest) -> AsyncIterator[object]:
    """Return the iterator over what the agent yields.

    Where the agent is no generator, what it returns is its whole answer: a `str` or an event.

    Raises:
        RubbishError: The agent returned something else.
    """
    if may_block(agent):
        return _awaited(_called_in_thread(agent, request), agent)
    given: object = agent(request)
    if isinstance(given, AsyncIterator):
        return given
    if isinstance(given, Awaitable):
        return _awaited(given, agent)
    return _stream_of(given, agent)


async def throw_cancelled(stream: AsyncIterator[object], cancelled: asyncio.CancelledError) -> None:
    """Throw a cancellation into the agent at its `yield`, where it waits to be asked for more.

    Without this, one that is cancelled between two events would only see GeneratorExit. What it
    yields in answer is not asked for.
    """
    throw = getattr(stream, "athrow", None)
    if throw is not None:
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await throw(cancelled)


async def close_stream(stream: AsyncIterator[object]) -> None:
    """Close the agent: its `finally` blocks run now, and not when the garbage is collected."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def may_block(agent: object) -> bool:
    """Return whether a call of an agent may take its time: then it is made in a thread.

    So is that of everything that is not async, unless its annotation says that it returns at once, with
    something async (`-> AsyncIterator[str]`).
    """
    called = _called(agent)
    if inspect.isclass(called) or inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        return False
    return not _returns_async(called)


def place_of(agent: object, stream: object = None) -> str:
    """Return a file and a line: `/srv/agents.py, line 12`.

    Args:
        agent: An agent; the place is where it is defined.
        stream: What its call gave: where that is a generator, the place is the `yield` where it stands.
    """
    stream = getattr(stream, "items", stream)  # of one that is read in a thread
    frame = getattr(stream, "ag_frame", None) or getattr(stream, "gi_frame", None)
    if frame is not None and frame.f_globals.get("__package__") != __package__:
        return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
    code: CodeType | None = getattr(inspect.unwrap(_called(agent)), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else f"a {type(agent).__qualname__}"


async def _called_in_thread(agent: Agent, request: RunRequest) -> object:
    """Return what a function gives that is not async. A generator stays in the thread that made it."""
    thread = AgentThread(f"agent of {request.run_id}")
    given: object = None
    try:
        given = await thread.do(partial(agent, request))
    finally:
        if not isinstance(given, Iterator):
            thread.end()
    return ThreadedStream(given, thread) if isinstance(given, Iterator) else given


async def _awaited(coming: Awaitable[object], agent: Agent) -> AsyncGenerator[object]:
    """Yield what an agent's answer holds, once it is there."""
    stream = _stream_of(await coming, agent)
    try:
        async for item in stream:
            try:
                yield item
            except asyncio.CancelledError as cancelled:
                await throw_cancelled(stream, cancelled)
                raise
    finally:
        await close_stream(stream)


def _stream_of(given: object, agent: Agent) -> AsyncIterator[object]:
    """Return the iterator over what an agent's call returned.

    Raises:
        RubbishError: It returned neither text nor an event, nor what yields such.
    """
    if isinstance(given, AsyncIterable):
        return aiter(given)
    if isinstance(given, Iterator):
        return ThreadedStream(given, AgentThread("agent"))
    if given is None or isinstance(given, (list | tuple | dict | bytes, type)):
        what = "None" if given is None else f"a {type(given).__qualname__}"
        raise RubbishError(f"the agent returned {what}: return text, or yield events ({place_of(agent)})")
    return _one(given)


async def _one(item: object) -> AsyncGenerator[object]:
    """Yield the whole answer of an agent that is no generator."""
    yield item


def _called(agent: Any) -> Any:
    """Return the function that a call of an agent calls; a class as it is."""
    while isinstance(agent, functools.partial):
        agent = agent.func
    if inspect.isroutine(agent) or inspect.isclass(agent):
        return agent
    return getattr(type(agent), "__call__", agent)  # noqa: B004 # what it calls, not whether it can be called


def _returns_async(function: Any) -> bool:
    """Return whether a function's annotation says that its result is async."""
    said = getattr(function, "__annotations__", {}).get("return")
    if isinstance(said, str):  # as with `from __future__ import annotations`
        return said.partition("[")[0].rpartition(".")[2] in _ASYNC_NAMES
    return said in _ASYNC or get_origin(said) in _ASYNC
