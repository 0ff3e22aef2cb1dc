"""The connection on which a core hears of news: it can be closed at any moment."""

from __future__ import annotations

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError

from agent_core.log.redis.messages import Messages


class BreaksWhenClosed:
    """A connection (scripted) that fails at the very moment at which one stops waiting for it, once."""

    def __init__(self) -> None:
        self._is_broken = False

    async def subscribe(self, *channels: str) -> None:
        """Take a subscription."""

    async def get_message(self, timeout: float | None) -> None:  # noqa: ASYNC109 # the library's name
        """Wait; fail once that is given up."""
        del timeout
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._is_broken:
                raise
            self._is_broken = True
            raise RedisConnectionError("gone") from None

    async def ping(self) -> None:
        """Give no sign of life."""

    async def aclose(self) -> None:
        """Close."""


class BreaksOnce(BreaksWhenClosed):
    """A connection (scripted) that fails by itself, once, and then has nothing to say."""

    async def get_message(self, timeout: float | None) -> None:  # noqa: ASYNC109 # as above
        """Fail, the first time."""
        del timeout
        if not self._is_broken:
            self._is_broken = True
            raise RedisConnectionError("gone")
        await asyncio.Event().wait()


class Client:
    """Hands a connection out, again and again."""

    def __init__(self, pubsub: BreaksWhenClosed) -> None:
        self._pubsub = pubsub

    def pubsub(self) -> BreaksWhenClosed:
        return self._pubsub


async def test_a_connection_that_breaks_while_it_is_closed_holds_nobody_up() -> None:
    """A core that stops as Redis fails ends all the same."""
    stands = asyncio.Event()
    messages = Messages(Client(BreaksWhenClosed()), "own", on_own=lambda: None, on_back=stands.set)
    await messages.start()
    async with asyncio.timeout(10):
        await stands.wait()
        await asyncio.sleep(0)  # the tasks that hear and ask have begun
        await messages.aclose()


async def test_a_connection_that_breaks_is_made_again() -> None:
    """Whoever listens is told each time that it stands."""
    stood = asyncio.Semaphore(0)
    messages = Messages(Client(BreaksOnce()), "own", on_own=lambda: None, on_back=stood.release)
    await messages.start()
    async with asyncio.timeout(10):
        await stood.acquire()
        await stood.acquire()
        await messages.aclose()
