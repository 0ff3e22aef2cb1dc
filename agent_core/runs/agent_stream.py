"""What an agent's call gave, as an iterator that is always closed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import suppress

from agent_core.agents.events import Agent, RunRequest
from agent_core.runs.failures import RubbishError


def open_stream(agent: Agent, request: RunRequest) -> AsyncIterator[object]:
    """Return the iterator over what the agent yields.

    Raises:
        RubbishError: The agent gave something else, such as the coroutine of an `async def` without
            a `yield`.
    """
    given: object = agent(request)
    if inspect.iscoroutine(given):
        given.close()  # Otherwise Python warns that it was never awaited.
    if not isinstance(given, AsyncIterator):
        raise RubbishError(f"the agent gave a {type(given).__qualname__} and no async iterator")
    return given


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
