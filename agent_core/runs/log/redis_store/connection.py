"""Connections to Redis, and what of their failures concerns the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from typing import Any, Final

import redis as blocking
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from agent_core.runs.log.contract import LogAwayError, LogFullError

CONNECT_S: Final = 1.0
ANSWER_S: Final = 2.0
"""How long Redis may take to accept a connection, and to answer. Then it counts as away."""

BROKEN: Final = (RedisError, OSError, RuntimeError)
"""What the client raises where Redis can't be reached. uvloop says RuntimeError of a connection that broke
while it was being made, and redis-py passes that on."""

PASSING: Final = ("BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
"""How Redis's refusals begin that may pass by themselves.

Source: https://github.com/redis/redis/blob/7.2/src/server.c (createSharedObjects)
"""

SCRIPTS: Final = {
    name: (files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")
    for name in ("create", "append", "restore", "read", "delete", "renew", "tell")
}


def make_client(url: str) -> Any:
    """Return a client for the event loop. It repeats nothing by itself: an append tells what became of it.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.

    Raises:
        ValueError: The URL is none of these.
    """
    from redis.asyncio.retry import Retry  # noqa: PLC0415 # the one for the event loop, beside the other

    return aioredis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options())


def make_blocking_client(url: str) -> Any:
    """Return a client for a thread.

    Raises:
        ValueError: The URL is none.
    """
    from redis.retry import Retry  # noqa: PLC0415 # the one for threads, beside the other

    return blocking.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options())


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,
        "socket_keepalive": True,
        "decode_responses": False,
    }


@contextmanager
def away() -> Iterator[None]:
    """Say in the log's own words that Redis can't do it at the moment.

    Raises:
        LogAwayError: It can't.
    """
    try:
        yield
    except BROKEN as error:
        raise log_error(error) from error


@asynccontextmanager
async def away_here() -> AsyncIterator[None]:
    """Do the same around what is awaited."""
    with away():
        yield


def log_error(error: Exception, *, creating: bool = False) -> Exception:
    """Return what a failure means for the log.

    Args:
        error: Redis's own, or the network's.
        creating: A run was to be created, for which there may be no memory.
    """
    if creating and isinstance(error, OutOfMemoryError):
        return LogFullError(str(error))
    if type(error) is ResponseError and not str(error).startswith(PASSING):
        return error  # A bug of ours, or a wrong set-up: waiting does not help.
    return LogAwayError(str(error) or type(error).__name__)
