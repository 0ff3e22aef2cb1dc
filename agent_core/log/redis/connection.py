"""Connections to Redis, and what of their failures concerns the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

import hiredis
import redis as blocking
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from agent_core.log.contract import LogAwayError, LogFullError

CONNECT_S: Final = 1.0
ANSWER_S: Final = 2.0
"""How long Redis may take to accept a connection, and to answer. Then it counts as away."""

CONNECTIONS: Final = 16
QUEUE_S: Final = 5.0
"""The most connections of one client. Whoever asks while all are in use waits for one, longer than an answer
takes: when an edge goes down, its hundreds of readers come back within a second, and each asks at once."""

BROKEN: Final = (RedisError, OSError, RuntimeError)
"""What the client raises where Redis can't be reached. uvloop says RuntimeError of a connection that broke
while it was being made, and redis-py passes that on."""

PASSING: Final = ("BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
"""How Redis's refusals begin that may pass by themselves.

Source: https://github.com/redis/redis/blob/7.2/src/server.c (createSharedObjects)
"""

COUNTING: Final = frozenset({"create", "append", "delete"})
"""The scripts that count what an owner holds: what they need for it stands before each."""


def _script(name: str) -> str:
    """Return the text of a script."""
    return (files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")


SCRIPTS: Final = {
    name: (_script("shares") if name in COUNTING else "") + _script(name)
    for name in ("create", "append", "restore", "read", "delete", "renew", "tell", "leave", "forget")
}


def make_client(url: str) -> Any:
    """Return a client for the event loop. It repeats nothing by itself: an append tells what became of it.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.

    Raises:
        ValueError: The URL is none of these.
    """
    from redis.asyncio.retry import Retry  # noqa: PLC0415 # the one for the event loop, beside the other

    pool = aioredis.BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=QUEUE_S, retry=Retry(NoBackoff(), 0), **_options(url)
    )
    kind: Any = pool.connection_class
    pool.connection_class = type(f"Packing{kind.__name__}", (_Packing, kind), {})
    return aioredis.Redis.from_pool(pool)


class _Packing:
    """Writes commands as hiredis does, for connections of the event loop.

    redis-py does so for threads alone: here it would join each of an append's 38 words in Python, 33 of the
    190 us that an append costs the core, where hiredis takes 4.
    """

    def pack_command(self, *words: Any) -> list[bytes]:
        """Return a command as Redis reads it. The first word may be two, as in `SCRIPT LOAD`."""
        name = words[0].encode() if isinstance(words[0], str) else words[0]
        return [hiredis.pack_command((*name.split(), *words[1:]))]


def make_blocking_client(url: str) -> Any:
    """Return a client for a thread.

    Raises:
        ValueError: The URL is none.
    """
    from redis.retry import Retry  # noqa: PLC0415 # the one for threads, beside the other

    return blocking.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options(url))


def _options(url: str) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": ANSWER_S,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        "decode_responses": False,
        # With them on, the client hands out connections that the server has closed in the meantime: the
        # first command after a restart of Redis would fail.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
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
