"""What an agent's call gave, as an iterator that is always closed.

Most agents are async generators. Those that are not are taken as well: an `async def` that returns its
answer, and what is not async at all, a generator or a function, which then runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from functools import partial

from agent_core.agents.events import Agent, RunRequest
from agent_core.runs.agent_code import may_block, place_of
from agent_core.runs.agent_thread import AgentThread, ThreadedStream
from agent_core.runs.failures import RubbishError


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
