"""A gapless reader of one run, whatever carries it: order, duplicates, gaps, the cursor, the end. Pure.

Sources feed it (a follow of a link, a gRPC call), one after the other; it tells a sink. What comes twice is
dropped, what is missing ends the source: the next one goes on after the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from edge.errors import StreamBrokenError
from edge.upstream.contract import RunSink
from tokenwire.cursor import Cursor
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.reasons import Reason
from tokenwire.v1 import event_pb2, stream_pb2

_TERMINAL: Final = frozenset({"done", "error"})


class RunMessage(Protocol):
    """What sources feed: a StreamRunResponse, a FollowRunResponse or a LinkBatch."""

    @property
    def run_id(self) -> str:
        """The run. Read from the first message only."""

    @property
    def events(self) -> Iterable[event_pb2.Event]:
        """Events in order."""

    @property
    def control(self) -> stream_pb2.Control:
        """A control, if there are no events."""


class RunReader:
    """Reads one run for one sink, which is set when it starts.

    Args:
        run_id: The run; empty if it has yet to be started.
        after: The last event that the sink has.
    """

    __slots__ = ("_begun", "_epoch", "_sequence", "draining", "ended", "run_id", "sink")

    def __init__(self, run_id: str, after: Cursor) -> None:
        self.sink: RunSink | None = None
        """Is told what comes; None: nobody is, before the start and after the end."""
        self.run_id = run_id
        """The run; empty while it is unknown."""
        self.ended = False
        """Whether the terminal event has come."""
        self.draining = False
        """Set when the core has said that it shuts down. Its owner sets it back."""
        self._begun = False
        self._epoch, self._sequence = after

    @property
    def cursor(self) -> Cursor:
        """The last event that the sink has: the next source begins after it."""
        return Cursor(self._epoch, self._sequence)

    def feed(  # noqa: C901 # each token passes here: a call for a part of it would cost as much as the part
        self, message: RunMessage, clock: SenderClock, recv_nano: int, size_bytes: int
    ) -> bool:
        """Take in a message, and tell the sink. What comes after the terminal event is dropped.

        Args:
            message: The message.
            clock: What it says of its sender's clock.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
            size_bytes: How much of it, encoded, is this run's.

        Returns:
            Whether `ended` or `draining` is set now: seldom, so that nothing else has to look at each token.

        Raises:
            StreamBrokenError: DATA_LOSS, an event is missing, or is that of an earlier epoch: follow again
                after `cursor`.
        """
        sink = self.sink
        if sink is None or self.ended:
            return False
        if not self._begun:
            self._begin(sink, message.run_id)
            if self.sink is None:
                return False
        sink.arrived(clock, recv_nano, size_bytes)
        take = sink.event
        sequence = self._sequence
        event = None
        for event in message.events:  # the last one is looked at behind the loop
            if event.sequence != sequence + 1:
                if event.sequence <= sequence:
                    # Sent before: cores number densely, so the sequence alone tells.
                    event = None  # noqa: PLW2901 # it is not the one to look at
                    continue
                sink.flush()
                raise _gap(sequence, event.sequence)
            epoch = event.epoch or 1
            if epoch < self._epoch:  # Of a writer that had lost the run: another event has this number.
                sink.flush()
                raise _gap(f"{self._epoch}.{sequence}", f"{epoch}.{event.sequence}")
            sequence += 1
            self._sequence, self._epoch = sequence, epoch
            take(epoch, sequence, event)
            if self.sink is None:
                return False
        if event is None:
            self._control(sink, message.control)
        elif event.WhichOneof("payload") in _TERMINAL:  # Nothing comes behind it.
            self.ended = True
        sink.flush()
        return self.ended or self.draining

    def degraded(self, message: str) -> None:
        """Tell the sink that the run goes on and can't be read at the moment.

        Args:
            message: The same in words for users.
        """
        sink = self.sink
        if sink is None:
            return
        if not self._begun:
            self._begin(sink, self.run_id)
        sink.control(stream_pb2.Control(degraded=stream_pb2.Degraded(message=message)))
        sink.flush()

    def _begin(self, sink: RunSink, run_id: str) -> None:
        self._begun = True
        self.run_id = self.run_id or run_id
        sink.begin(self.run_id)

    def _control(self, sink: RunSink, control: stream_pb2.Control) -> None:
        match control.WhichOneof("control"):
            case None:
                return  # A message that only names the run, or a control newer than this edge.
            case "draining":
                self.draining = True  # The upstream's own affair: it moves the stream, or not.
                return
            case "resync":
                first = control.resync.first
                self._epoch, self._sequence = first.epoch or 1, max(0, first.sequence - 1)
        sink.control(control)


def _gap(after: int | str, got: int | str) -> StreamBrokenError:
    return StreamBrokenError(
        "DATA_LOSS",
        "Events were lost in transit.",
        retryable=True,
        details={"reason": Reason.SEQUENCE_GAP, "after": str(after), "got": str(got)},
    )
