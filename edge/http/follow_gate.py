"""New questions before those who come back: only so many follows are opened at a time.

After a restart thousands of clients follow their runs again within seconds. Opening a follow is dear (two
calls to a core), being open is cheap. Without a gate, a new question waits for all follows that came before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from edge.http.drain import Drain
from edge.http.stream_policy import StreamPolicy, come_back_later, refuse_for_now

OPENING_AT_A_TIME: Final = 32
"""How many follows are opened at a time: a question that comes in between waits for these, about 0.1 s. With
3,000 clients (`python -m bench.reconnects`, 2 cores): 64 at a time are all back after 17 s, and the slowest
question took 2.0 s; 32 after 19 s, 1.3 s; 16 after 23 s, 1.0 s."""

OPENING_S: Final = 0.25
"""How long a follow counts as being opened at most. One whose core is far, slow, or hangs costs nothing
meanwhile, and keeps no other one waiting: at least 128 a second are let in."""

WAIT_S: Final = 15.0
"""How long a follow waits for its turn: as long as an open stream is silent at most. Then its client is told
to come back later."""

MAX_EARLY_BYTES: Final = 64 * 1024
"""How much of the body of one that waits is read, to see whether its client leaves."""


class _Turn(Enum):
    """What becomes of one that waits."""

    OPEN = auto()
    LATER = auto()
    LEFT = auto()


class FollowGate:
    """An ASGI application before the edge's own: lets follows in one after the other, and all else at once.

    Args:
        app: The edge's application.
        policy: Tells when clients are to come back.
        drain: Says when the edge goes down: then nobody waits any longer.
        at_a_time: How many follows are opened at a time.
        opening_s: How long one counts as being opened at most, in seconds.
        wait_s: How long one waits for its turn at most, in seconds.
    """

    def __init__(  # noqa: PLR0913 # the three limits stand here with their reasons
        self,
        app: ASGIApp,
        policy: StreamPolicy,
        drain: Drain,
        *,
        at_a_time: int = OPENING_AT_A_TIME,
        opening_s: float = OPENING_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self.app = app
        """What is served behind the gate."""
        self._policy = policy
        self._drain = drain
        self._opening_s = opening_s
        self._wait_s = wait_s
        self._places = at_a_time
        self._queue: deque[asyncio.Future[_Turn]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(not turn.done() for turn in self._queue)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request: a follow when it is its turn."""
        if not is_follow(scope):
            await self.app(scope, receive, send)
            return
        early = _EarlyMessages(receive)
        turn = await self._turn(early)
        if turn is _Turn.LATER:
            await self._later(scope)(scope, early.receive, send)
        elif turn is _Turn.OPEN:
            await self._open(scope, early.receive, send)

    def _later(self, scope: Any) -> ASGIApp:
        """Return the answer to a follow that has to come back."""
        if _is_dialects(scope["path"]):
            return refuse_for_now()
        return come_back_later(self._policy.jittered_retry_ms(self._drain.streams))

    async def _turn(self, early: _EarlyMessages) -> _Turn:
        """Return what becomes of a follow, at its turn. OPEN: it has a place, which is to be released."""
        if self._drain.started:
            return _Turn.LATER
        if self._places:
            self._places -= 1
            return _Turn.OPEN
        turn: asyncio.Future[_Turn] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)

        def settle(verdict: _Turn) -> None:
            if not turn.done():
                turn.set_result(verdict)

        def later() -> None:
            settle(_Turn.LATER)

        timer = turn.get_loop().call_later(self._wait_s, later)
        watcher = asyncio.create_task(early.watch(lambda: settle(_Turn.LEFT)))
        self._drain.add(later)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is _Turn.OPEN:
                self._release()
            raise
        finally:
            timer.cancel()
            self._drain.remove(later)
            watcher.cancel()
            await asyncio.wait({watcher})

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a follow, and give its place to the next one as soon as it is open."""
        release = _once(self._release)
        timer = asyncio.get_running_loop().call_later(self._opening_s, release)

        def sending(message: Message) -> Awaitable[None]:
            release()
            return send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            timer.cancel()
            release()

    def _release(self) -> None:
        """Give a place to the one that has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(_Turn.OPEN)
                return
        self._places += 1


class _EarlyMessages:
    """What was read of a request before it had its turn; read again by the application.

    Args:
        receive: The server's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: deque[Any] = deque()

    async def receive(self) -> Any:
        """Return the next message."""
        return self._read.popleft() if self._read else await self._receive()

    async def watch(self, on_left: Callable[[], None]) -> None:
        """Read on until the client has left, or too much would have to be kept.

        Args:
            on_left: Called when it has left.
        """
        size_bytes = 0
        while size_bytes < MAX_EARLY_BYTES:
            message: Any = await self._receive()
            self._read.append(message)
            if message["type"] == "http.disconnect":
                on_left()
                return
            size_bytes += len(message["body"])


def is_follow(scope: Any) -> bool:
    """Return whether a request is to follow a run: `GET …/events` or `…/stream`, a POST with `Last-Event-ID`.

    Args:
        scope: The request's.
    """
    if scope["type"] != "http":
        return False
    if scope["method"] == "GET":
        path: str = scope["path"]
        return (path.startswith("/api/runs/") and path.endswith("/events")) or _is_dialects(path)
    return scope["method"] == "POST" and any(name == b"last-event-id" for name, _ in scope["headers"])


def _is_dialects(path: str) -> bool:
    """Return whether a follow is one of the AI SDK's: its clients don't come back by themselves."""
    return path.startswith("/api/ai-sdk/") and path.endswith("/stream")


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return what does something at its first call alone."""
    left = [action]

    def first() -> None:
        while left:
            left.pop()()

    return first
