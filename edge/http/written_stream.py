"""How a stream writes to its client: at once where it can be written to, else what has collected meanwhile.

No task: it is driven by who tells it of the run, by the connection, and by one timer.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Final

from edge.http.drain import Drain
from edge.http.extensions import Writer
from edge.http.stream_policy import StreamPolicy
from edge.sse.dialects import Dialect
from edge.sse.stream import StreamState
from edge.telemetry.stream_recorder import Outcome, StreamRecorder
from tokenwire import events
from tokenwire.telemetry import monotonic_nano

RETELL_FACTOR: Final = 2.0
"""By how much the time to come back must have changed for a client to be told it anew. An edge that dies
can't say it then."""

NANO: Final = 1_000_000_000


class Phase(enum.Enum):
    """How far a response is."""

    OPENING = enum.auto()
    """Nothing was sent: what fails is told by a status."""
    HEAD = enum.auto()
    """The status and the headers are being sent."""
    IDLE = enum.auto()
    """The client can be written to."""
    WRITING = enum.auto()
    """The kernel has not yet taken all of the last write."""
    ENDED = enum.auto()
    """Nothing more is written but the body's end."""


# A member of an enum is looked up in 50 ns, a global in 5.
OPENING: Final = Phase.OPENING
HEAD: Final = Phase.HEAD
IDLE: Final = Phase.IDLE
WRITING: Final = Phase.WRITING
ENDED: Final = Phase.ENDED


class WrittenStream(StreamState):
    """The writing half of a response that streams a run.

    Args:
        dialect: Writes the frames.
        recorder: Follows the tokens.
        policy: The pace.
        drain: Tells how many clients come back when this edge ends.
        budget_bytes: How much may wait for the client.
        merge: Whether neighbouring deltas that wait together become one frame.
        live: Whether the client reads the run from its start.
        heartbeats: Whether silence is broken.
    """

    __slots__ = (
        "_bytes",
        "_drain",
        "_heartbeats",
        "_last_write_nano",
        "_loop",
        "_outcome",
        "_phase",
        "_policy",
        "_recorder",
        "_retry_due",
        "_sends",
        "_timer",
        "_told_spread_ms",
        "_write",
        "_writer",
        "_written",
    )

    def __init__(  # noqa: PLR0913 # how one stream differs from another
        self,
        dialect: Dialect,
        recorder: StreamRecorder,
        *,
        policy: StreamPolicy,
        drain: Drain,
        budget_bytes: int,
        merge: bool,
        live: bool,
        heartbeats: bool,
    ) -> None:
        super().__init__(dialect, budget_bytes=budget_bytes, merge=merge, live=live, stamps=recorder.stamps)
        self._recorder = recorder
        self._written = recorder.written_at_once
        self._policy = policy
        self._drain = drain
        self._heartbeats = heartbeats
        self._phase = OPENING
        self._outcome: Outcome | None = None  # known before the end: then of what is still to be written
        self._timer: asyncio.TimerHandle | None = None
        self._last_write_nano = 0
        self._told_spread_ms = 0.0
        self._retry_due = False
        self._sends = 0
        self._bytes = 0
        self._loop: asyncio.AbstractEventLoop
        self._writer: Writer | None = None
        self._write: Callable[[bytes], bool]

    # What calls in.

    def flush(self) -> None:
        """Write what was told since `arrived`, if the client can be written to."""
        items = self._items
        if not items:
            self._outbox.size_bytes = 0  # What makes no frame waits for nobody.
            return
        if self._phase is not IDLE:
            if self._phase is OPENING:
                self._go_on()
            return
        try:
            item = items[0]
            if (
                len(items) > 1
                or self._retry_due
                or not isinstance(item, tuple)
                or len(item) == 3  # noqa: PLR2004 # an event that is no delta
                or self._outbox.size_bytes >= self._outbox.budget_bytes
            ):
                self._write_out(bytearray())
                return
            # Nearly always: one token, and nothing else waits.
            items.clear()
            self._outbox.size_bytes = 0
            frame = self._dialect.delta_frame(item)
            if not frame:  # The client has it already; an empty chunk would end the body.
                self._recorder.taken()
                return
            self._sends += 1
            self._bytes += len(frame)
            if self._write(frame):
                self._last_write_nano = now = monotonic_nano()
                self._written(now)
            else:
                self._recorder.taken()
                self._wait_for_kernel()
        except Exception as error:  # noqa: BLE001 # it must not end those of other clients
            self._broke(error)

    def drained(self) -> None:
        """Go on: the kernel has taken the last write."""
        if self._phase is WRITING:
            self._guard(self._go_on_writing)

    def probe(self) -> None:
        """Write something now, a heartbeat for want of anything else: the client may have gone."""
        if self._phase is IDLE:
            self._guard(self._write_heartbeat)

    # What the whole response is to do.

    def _go_on(self) -> None:
        """Have the request's own task go on."""
        raise NotImplementedError

    def _end_well(self) -> None:
        """End: all is written, and the outcome is known."""
        raise NotImplementedError

    def _broke(self, error: Exception) -> None:
        """End: there is a fault in what serves this stream."""
        raise NotImplementedError

    def _evict(self) -> None:
        """End: the client does not read."""
        raise NotImplementedError

    def _resume(self) -> None:
        """Say that there is room again."""
        raise NotImplementedError

    # How it writes.

    def _start_writing(self) -> None:
        """Write the opening and what waits already, and start the clock of silence."""
        self._phase = IDLE
        self._told_spread_ms = self._policy.spread_ms(self._drain.streams)
        out = bytearray()
        self._dialect.write_opening(out, self._retry_ms())
        self._write_out(out)
        if self._phase is not ENDED:
            self._tick()

    def _guard(self, action: Callable[[], None]) -> None:
        """Do something in another one's turn: what fails there ends this stream alone."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 # raised again in the request's own task
            self._broke(error)

    def _write_out(self, out: bytearray) -> None:
        """Write `out` and what waits behind it; end once that was the last.

        Args:
            out: What is written first; empty for nothing.
        """
        was_full = self.full
        if self._items:
            self._write_retry(out)
            self.take(out)
            if self.terminal is not None:
                self._outcome = outcome_of(self.terminal)
        if out:
            self._sends += 1
            self._bytes += len(out)
            if self._write(bytes(out)):
                self._last_write_nano = now = monotonic_nano()
                self._recorder.written(now)
            else:
                self._wait_for_kernel()
        if self._phase is IDLE and self._outcome is not None:
            self._end_well()
        elif was_full:
            self._resume()

    def _wait_for_kernel(self) -> None:
        """Write nothing until `drained`, and note since when."""
        self._last_write_nano = monotonic_nano()
        self._phase = WRITING

    def _go_on_writing(self) -> None:
        self._phase = IDLE
        self._last_write_nano = now = monotonic_nano()
        self._recorder.written(now)
        self._write_out(bytearray())

    def _write_heartbeat(self) -> None:
        out = bytearray()
        self._write_retry(out)
        self._dialect.write_heartbeat(out)
        self._write_out(out)

    def _write_retry(self, out: bytearray) -> None:
        """Append the time to come back, where the client has to be told another one."""
        if self._retry_due:
            self._retry_due = False
            self._told_spread_ms = self._policy.spread_ms(self._drain.streams)
            self._dialect.write_retry(out, self._retry_ms())

    def _retry_ms(self) -> int:
        return self._policy.jittered_retry_ms(self._drain.streams)

    def _tick(self) -> None:
        """Look whether a write is stuck or the stream is silent, and when to look again.

        One timer for both, moved only when it fires: moving it at every token would cost more than
        the token.
        """
        policy, waited_s = self._policy, (monotonic_nano() - self._last_write_nano) / NANO
        # Much more or fewer clients than when this one was told when to come back: it is told again.
        factor = policy.spread_ms(self._drain.streams) / self._told_spread_ms
        self._retry_due = not 1 / RETELL_FACTOR < factor < RETELL_FACTOR
        next_s = min(policy.write_deadline_s, policy.heartbeat_s)
        if self._phase is WRITING:
            if waited_s >= policy.write_deadline_s:
                self._evict()
                return
            next_s = min(next_s, policy.write_deadline_s - waited_s)
        elif self._heartbeats:
            if waited_s < policy.heartbeat_s:
                next_s = min(next_s, policy.heartbeat_s - waited_s)
            else:
                self.probe()
                if self._phase is ENDED:
                    return
        self._timer = self._loop.call_later(max(0.001, next_s), self._tick)


def outcome_of(terminal: events.Done | events.Error) -> Outcome:
    """Return the outcome of a stream that has ended with its run."""
    if isinstance(terminal, events.Error):
        return "error"
    return "cancelled" if terminal.finish_reason == "cancelled" else "completed"
