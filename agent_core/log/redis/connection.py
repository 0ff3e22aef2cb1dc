"""Connections to Redis, and what of their failures concerns the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import hiredis
import redis as blocking
from redis import asyncio as aioredis
from redis.asyncio import sentinel as aiosentinel
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig
from redis.sentinel import Sentinel

from agent_core.log.errors import LogAwayError, LogFullError
from agent_core.log.store_url import SentinelAddress, read_sentinel

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


def make_pool(url: str) -> Any:
    """Return a pool of connections for the event loop.

    Args:
        url: As `read_store` takes it.

    Raises:
        ValueError: The URL is wrong.
    """
    limits = {"max_connections": CONNECTIONS, "timeout": QUEUE_S}
    address = read_sentinel(url)
    if address is None:
        pool: Any = aioredis.BlockingConnectionPool.from_url(url, **limits, **_loop_options(url))
    else:
        pool = _sentinel_pool(address, limits)
    kind: Any = pool.connection_class
    pool.connection_class = type(f"Packing{kind.__name__}", (_Packing, kind), {})
    return pool


def make_client(url: str) -> Any:
    """Return a client for the event loop. It repeats nothing by itself: an append tells what became of it.

    Args:
        url: As `read_store` takes it.

    Raises:
        ValueError: The URL is wrong.
    """
    return aioredis.Redis.from_pool(make_pool(url))


def make_blocking_client(url: str) -> Any:
    """Return a client for a thread.

    Raises:
        ValueError: The URL is wrong.
    """
    from redis.retry import Retry  # noqa: PLC0415 # the one for threads, beside the other

    options = {**_options(url), "retry": Retry(NoBackoff(), 0)}
    address = read_sentinel(url)
    if address is None:
        return blocking.Redis.from_url(url, **options)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels, sentinel_kwargs={**options, **address.sentinel_options}, **options
    )
    return sentinels.master_for(address.service, **address.options)


def close_blocking_client(client: Any) -> None:
    """Close a client of a thread, with its connections to Sentinels."""
    client.close()
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        sentinel.close()


class _SentinelPool(aiosentinel.SentinelConnectionPool, aioredis.BlockingConnectionPool):
    """Connections to the primary that the Sentinels name; each new one asks them again."""

    async def aclose(self) -> None:
        """Close also the connections to the Sentinels."""
        await super().aclose()
        await self.sentinel_manager.aclose()


def _sentinel_pool(address: SentinelAddress, limits: dict[str, Any]) -> Any:
    """Return a pool that finds its server by asking Sentinels."""
    options = _loop_options("")
    sentinels: Any = aiosentinel.Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels, sentinel_kwargs={**options, **address.sentinel_options}, **options
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        address.service, sentinels, **options, **limits, **address.options
    )


class _Packing:
    """Writes commands as hiredis does, for connections of the event loop.

    redis-py does so for threads alone: here it would join each of an append's 38 words in Python, 33 of the
    190 us that an append costs the core, where hiredis takes 4.
    """

    def pack_command(self, *words: Any) -> list[bytes]:
        """Return a command as Redis reads it. The first word may be two, as in `SCRIPT LOAD`."""
        name = words[0].encode() if isinstance(words[0], str) else words[0]
        return [hiredis.pack_command((*name.split(), *words[1:]))]


def _loop_options(url: str) -> dict[str, Any]:
    from redis.asyncio.retry import Retry  # noqa: PLC0415 # the one for the event loop, beside the other

    return {**_options(url), "retry": Retry(NoBackoff(), 0)}


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


class ReadOnlyAwayError(LogAwayError):
    """The server is a replica: another one is the primary now, perhaps under the same address."""


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
    kind = ReadOnlyAwayError if isinstance(error, ReadOnlyError) else LogAwayError
    return kind(str(error) or type(error).__name__)
