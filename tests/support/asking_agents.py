"""Scripted agents that ask a person. Each says what it was answered, as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from agent_core.agents import InputExpired, RunRequest, current_request


def script_of(request: RunRequest) -> list[dict[str, Any]]:
    """Return the questions of a message: JSON, or one approval with the message as its prompt."""
    try:
        script: Any = json.loads(request.message)
    except ValueError:
        return [{"prompt": request.message}]
    return script if isinstance(script, list) else [script]


async def asks(request: RunRequest) -> AsyncIterator[str]:
    """Ask one question after the other."""
    yield "asking "
    for question in script_of(request):
        yield json.dumps(await request.ask(**question)) + " "
    yield f"left {request.remaining_s()}"


async def asks_together(request: RunRequest) -> AsyncIterator[str]:
    """Ask all questions at once, from tasks of its own, and tell the answers as they come."""

    async def ask(question: dict[str, Any]) -> str:
        try:
            return json.dumps(await request.ask(**question)) + " "
        except InputExpired:
            return "expired "

    tasks = [asyncio.create_task(ask(question)) for question in script_of(request)]
    for task in asyncio.as_completed(tasks):
        yield await task


def asks_in_thread(request: RunRequest) -> Iterator[str]:
    """Ask one question after the other, from code that is not async, without the request at hand."""
    del request
    for question in script_of(current_request()):
        yield json.dumps(current_request().ask_blocking(**question)) + " "


def asks_in_own_loop(request: RunRequest) -> str:
    """Ask from another event loop, in the agent's thread."""

    async def ask() -> list[Any]:
        return [await request.ask(**question) for question in script_of(request)]

    return json.dumps(asyncio.run(ask()))


async def gives_up(request: RunRequest) -> AsyncIterator[str]:
    """Ask, and wait for the answer no longer than 50 ms."""
    try:
        async with asyncio.timeout(0.05):
            await request.ask(request.message)
    except TimeoutError:
        yield "gave up"
