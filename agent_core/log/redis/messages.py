"""One connection on which a process hears of what others append."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import TimeoutError as RedisTimeoutError

from agent_core.log.errors import LogAwayError
from agent_core.log.redis.connection import ANSWER_S, BROKEN
from tokenwire.backoff import Backoff
from tokenwire.outage import Outage

RETRY_S: Final = 0.1
RETRY_MOST_S: Final = 1.0
"""How long after a broken connection the next one is tried, at first and at most."""

SILENCE_S: Final = 2.0
"""After how long a silence a connection is asked whether it is still there."""

logger = logging.getLogger(__name__)


class Messages:
    """Subscriptions of one process. Messages can be lost: whoever hears them has to look again.

    Args:
        client: Redis, for the event loop.
        own: A channel that is always listened to.
        on_own: Called when it says something.
        on_back: Called whenever the connection stands, the first time too: messages may have been missed.
    """

    def __init__(
        self, client: Any, own: str, *, on_own: Callable[[], None], on_back: Callable[[], None]
    ) -> None:
        self._client = client
        self._handlers: dict[str, Callable[[bytes], None]] = {own: lambda _: on_own()}
        self._confirming: dict[str, asyncio.Future[None]] = {}
        self._on_back = on_back
        self._outage = Outage(
            logger,
            away="the connection for Redis' notifications was lost",
            back="Redis' notifications arrive again",
            level=logging.INFO,
        )
        self._pubsub: Any = None
        self._has_spoken = False
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="redis messages")

    async def aclose(self) -> None:
        """Stop listening."""
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def subscribe(self, channel: str, handler: Callable[[bytes], None]) -> None:
        """Return when a channel is listened to.

        Args:
            channel: Its name.
            handler: Called with each message.

        Raises:
            LogAwayError: Redis did not confirm it.
        """
        confirmed = asyncio.get_running_loop().create_future()
        self._handlers[channel] = handler
        self._confirming[channel] = confirmed
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._pubsub is not None:
                    # A connection that breaks now is made again, with all channels.
                    with suppress(*BROKEN):
                        await self._pubsub.subscribe(channel)
                await confirmed
        except TimeoutError as error:
            raise LogAwayError(f"no subscription to {channel}") from error
        finally:
            self._confirming.pop(channel, None)
            if not confirmed.done() or confirmed.cancelled():
                self._handlers.pop(channel, None)

    def unsubscribe(self, channel: str) -> Awaitable[None]:
        """Listen to a channel no longer: from now on, not only when what is returned was awaited."""
        self._handlers.pop(channel, None)
        return self._unsubscribe(channel)

    async def _unsubscribe(self, channel: str) -> None:
        """Tell Redis, unless somebody listens again."""
        with suppress(*BROKEN):  # A connection that is made again leaves it out.
            if self._pubsub is not None and channel not in self._handlers:
                await self._pubsub.unsubscribe(channel)
            if self._pubsub is not None and channel in self._handlers:
                await self._pubsub.subscribe(channel)

    async def _listen(self) -> None:
        """Hear messages, over one connection after the other."""
        backoff = Backoff(RETRY_S, RETRY_MOST_S)
        while True:
            self._has_spoken = False
            pubsub = self._client.pubsub()
            try:
                await self._hear_over(pubsub)
            except* BROKEN as errors:
                self._outage.begin(errors.exceptions[0])
            finally:
                self._pubsub = None
                with suppress(*BROKEN):
                    await pubsub.aclose()
            # Before Python 3.13 a task group whose child fails at the moment at which it is cancelled itself
            # forgets the cancellation. `cancelling` does not tell: it counts the one of the group itself too.
            # Source: https://github.com/python/cpython/issues/116720
            if self._is_closing:
                return
            if self._has_spoken:
                backoff.succeeded()
            await asyncio.sleep(backoff.failed(time.monotonic()) or 0.0)

    async def _hear_over(self, pubsub: Any) -> None:
        """Hear messages over one connection, until it breaks or falls silent."""
        subscribed = tuple(self._handlers)
        await pubsub.subscribe(*subscribed)
        self._pubsub = pubsub
        if missed := self._handlers.keys() - subscribed:  # They came while there was no connection.
            await pubsub.subscribe(*missed)
        self._outage.end()
        self._on_back()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(pubsub), name="hear redis")
            group.create_task(self._probe(pubsub), name="probe redis")

    async def _hear(self, pubsub: Any) -> None:
        """Pass on what comes."""
        while True:
            message = await pubsub.get_message(timeout=None)
            self._has_spoken = True
            if message is not None:
                self._heard(message)

    async def _probe(self, pubsub: Any) -> None:
        """Ask a connection that says nothing for a sign of life: it may have died without a word.

        Raises:
            RedisTimeoutError: It gave none.
        """
        while True:
            self._has_spoken = False
            await asyncio.sleep(SILENCE_S)
            if not self._has_spoken:
                await pubsub.ping()
                await asyncio.sleep(ANSWER_S)
            if not self._has_spoken:
                raise RedisTimeoutError("the connection fell silent")

    def _heard(self, message: dict[str, Any]) -> None:
        """Pass a message on, or the word that a subscription stands."""
        if message["type"] == "pong":
            return
        channel = message["channel"].decode()
        if message["type"] == "subscribe":
            confirmed = self._confirming.get(channel)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)
        elif message["type"] == "message":
            handler = self._handlers.get(channel)
            if handler is not None:
                handler(message["data"])
