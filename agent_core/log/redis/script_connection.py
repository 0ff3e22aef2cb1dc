"""One connection on which scripts are sent, and answered in order by callbacks.

redis-py makes the connection: it logs in, speaks TLS, chooses the database, and finds the primary. Then its
transport belongs to this protocol: redis-py has a task, a timer and a dozen coroutines for each answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import hiredis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as LateError

from agent_core.log.redis.connection import ANSWER_S
from agent_core.log.redis.lua import HASHES, SCRIPTS

OnReply: TypeAlias = Callable[[Any], None]
"""Is given what Redis answers, or the RedisError in its place."""

SENT_HERE: Final = ("turn", "append")
"""The scripts that are loaded over each new connection."""

AGAIN_S: Final = 0.05
"""How long after an answer is overdue it is looked for once more."""

_NOTHING: Final = object()


class ScriptConnection(asyncio.Protocol):
    """A connection of the event loop that `connect` makes, and any failure ends.

    Args:
        pool: From `make_pool`: makes connections, and keeps none of these.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._made: Any = None
        self._transport: Any = None
        self._parse_error: Callable[[str], Exception] = RedisError
        self._awaiting: deque[tuple[OnReply, float]] = deque()
        self._overdue: tuple[OnReply, float] | None = None
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def is_connected(self) -> bool:
        """Whether something can be sent."""
        return self._transport is not None

    async def connect(self) -> None:
        """Connect anew.

        Raises:
            RedisError: It can't be reached, or has refused.
            OSError: The same.
            RuntimeError: The same, with uvloop.
        """
        made = self._pool.make_connection()
        try:
            await made.connect()
            self._parse_error = made._parser.parse_error  # noqa: SLF001 # makes redis-py's kinds of errors
            self._reader = hiredis.Reader(replyError=self._parse_error, notEnoughData=_NOTHING)
            transport = made._writer.transport  # noqa: SLF001 # public in no form
            transport.set_protocol(self)
        except BaseException:
            await made.disconnect(nowait=True)
            raise
        # Kept as long as the transport: it would close it otherwise.
        self._made, self._transport = made, transport
        for name in SENT_HERE:
            self._send(_load(name), _ignore)

    def run(
        self, script: str, keys: Sequence[bytes | str], arguments: Sequence[Any], on_reply: OnReply
    ) -> None:
        """Send a script. Connected only.

        Args:
            script: Its name.
            keys: Its keys.
            arguments: Its arguments.
            on_reply: Called once, in a later turn of the event loop.
        """
        command = _pack("EVALSHA", HASHES[script], len(keys), *keys, *arguments)

        def answered(reply: Any) -> None:
            if isinstance(reply, NoScriptError) and self._transport is not None:
                # Flushed since. Nothing was done: once more, behind what was sent meanwhile.
                self._send(_load(script), _ignore)
                self._send(command, on_reply)
            else:
                on_reply(reply)

        self._send(command, answered)

    def error_of(self, text: bytes) -> Exception:
        """Return the error that Redis's words stand for.

        Args:
            text: As a script got them: `OOM command not allowed …`.
        """
        return self._parse_error(text.decode(errors="replace").removeprefix("-"))

    def abort(self, error: Exception) -> None:
        """End the connection: what is not answered never will be.

        Args:
            error: Why.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._end(error)

    async def aclose(self) -> None:
        """End the connection."""
        self.abort(LostError("the log is closed"))
        await self._pool.aclose()  # Its connections to Sentinels.

    def data_received(self, data: bytes) -> None:
        """Take answers."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING:
                if self._awaiting and not isinstance(reply, hiredis.PushNotification):
                    self._awaiting.popleft()[0](reply)
                if self._transport is None:
                    return  # An answer has ended it.
        except hiredis.ProtocolError as error:
            self.abort(LostError(f"Redis answers what is not its protocol: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Let those know who wait."""
        if self._transport is not None:
            self._transport = None
            self._end(LostError(str(error) if error else "Redis has closed the connection"))

    def _send(self, command: bytes, on_reply: OnReply) -> None:
        self._transport.write(command)
        self._awaiting.append((on_reply, time.monotonic()))
        if self._watchdog is None:
            self._watch(ANSWER_S)

    def _watch(self, delay_s: float) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        """End a connection whose next answer is overdue."""
        self._watchdog = None
        if self._awaiting:
            left_s = self._awaiting[0][1] + ANSWER_S - time.monotonic()
            if left_s > 0:
                self._watch(left_s)
            elif self._overdue is not self._awaiting[0]:
                # After a pause of this process, timers come before what has arrived meanwhile.
                self._overdue = self._awaiting[0]
                self._watch(AGAIN_S)
            else:
                self.abort(LateError(f"Redis did not answer within {ANSWER_S:g} s"))

    def _end(self, error: Exception) -> None:
        """Fail what is not answered."""
        made, self._made = self._made, None
        if made is not None:
            made._reader = made._writer = None  # noqa: SLF001 # it must not close it once more, nor complain
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        self._overdue = None
        awaiting, self._awaiting = self._awaiting, deque()
        failure = error if isinstance(error, RedisError) else LostError(str(error))
        for on_reply, _ in awaiting:
            on_reply(failure)


def _load(script: str) -> bytes:
    return _pack("SCRIPT", "LOAD", SCRIPTS[script])


def _pack(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed


def _ignore(_: Any) -> None:
    """Take the answer to SCRIPT LOAD: if it has failed, EVALSHA answers NOSCRIPT."""
