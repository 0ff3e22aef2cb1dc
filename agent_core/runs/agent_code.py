"""Where an agent's code stands, and of what kind it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Coroutine
from types import CodeType
from typing import Any, Final, get_origin

_ASYNC: Final = (AsyncGenerator, AsyncIterator, AsyncIterable, Awaitable, Coroutine)
_ASYNC_NAMES: Final = tuple(kind.__name__ for kind in _ASYNC)


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
