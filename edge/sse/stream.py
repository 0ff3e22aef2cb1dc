"""One response's stream state: order, merging, resume, budget, and the one end.

Sans-I/O: the rim feeds the bytes that a core sends, and takes the bytes that are to be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from edge.errors import EdgeError, StreamBrokenError
from edge.sse import frames
from edge.sse.dialects import Dialect
from edge.sse.stamps import StreamStamps
from tokenwire import events
from tokenwire.cursor import START, Cursor
from tokenwire.translate import cursor_of, translate, translate_control
from tokenwire.v1 import agent_service_pb2, event_pb2, stream_pb2

_Delta: TypeAlias = events.TextDelta | events.ReasoningDelta
_DELTAS: Final = (events.TextDelta, events.ReasoningDelta)

_parse: Final = agent_service_pb2.StreamRunResponse.FromString
"""FollowRunResponse has the same fields under the same numbers."""


_Waiting: TypeAlias = tuple[int, int, events.StreamEvent]
"""An event that waits to be written: epoch, sequence, event. Sequence 0: it is not in the log. A bare
tuple, since one is made for every token."""

_Item: TypeAlias = _Waiting | events.ControlEvent


class StreamState:
    """What one client has been sent, and what waits for it.

    Args:
        dialect: Makes the dialect, once the run's id is known.
        after: The last event that the client has.
        budget_bytes: How much may wait (in encoded bytes) before `full` asks the rim to stop feeding.
        merge: Whether adjacent deltas that wait together become one frame.
        live: Whether the client reads the run from its start: then there is nothing to catch up with.
        stamps: Reads the events' stamps; None where nobody wants to know them.
    """

    def __init__(  # noqa: PLR0913 # how one stream differs from another
        self,
        dialect: Callable[[str], Dialect],
        *,
        after: Cursor = START,
        budget_bytes: int,
        merge: bool = True,
        live: bool = False,
        stamps: StreamStamps | None = None,
    ) -> None:
        self._make_dialect = dialect
        self._dialect: Dialect | None = None
        self._epoch, self._sequence = after
        self._budget_bytes = budget_bytes
        self._merge = merge
        self._stamps = stamps
        self._note_taken = stamps.series.take if stamps is not None else None
        self._items: list[_Item] = []
        self._waiting_bytes = 0
        self.run_id = ""
        """The run's id; empty until the first response or `name_run`."""
        self.terminal: events.Done | events.Error | None = None
        """The terminal event, once it was fed or made by `fail`."""
        self.core_draining = False
        """Set when the core has said that it is going down."""
        self._caught_up = live
        self.resyncs = 0
        """How often the client was told to begin anew."""
        self.unknown = 0
        """Events that were passed over since their payload is unknown here."""

    @property
    def last(self) -> Cursor:
        """The last event that was fed: the cursor from which a broken stream goes on."""
        return Cursor(self._epoch, self._sequence)

    @property
    def waiting(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._items)

    @property
    def full(self) -> bool:
        """Whether more waits than the budget allows: stop feeding until `take`."""
        return self._waiting_bytes >= self._budget_bytes

    def name_run(self, run_id: str) -> None:
        """Say which run the stream belongs to.

        Args:
            run_id: The run's id.
        """
        if not self.run_id:
            self.run_id = run_id
            self._dialect = self._make_dialect(run_id)

    def feed(self, message: bytes, recv_nano: int = 0) -> None:
        """Take in what a core sent. What comes after the terminal event is ignored.

        Args:
            message: An encoded StreamRunResponse or FollowRunResponse.
            recv_nano: When it came, in nanoseconds of the monotonic clock.

        Raises:
            StreamBrokenError: DATA_LOSS, an event was skipped: follow again from `last`.
            google.protobuf.message.DecodeError: the message is none of the two.
        """
        response = _parse(message)
        if not self.run_id:
            self.name_run(response.run_id)
        self._waiting_bytes += len(message)
        if self._stamps is not None:
            self._stamps.response(response.clock, recv_nano)
        events_fed = False
        for event in response.events:
            events_fed = True
            if self.terminal is None:
                self._feed_event(event)
        if not events_fed and self.terminal is None:
            self._feed_control(response.control)
        if not self._items:
            self._waiting_bytes = 0  # What makes no frame waits for nobody.

    def _feed_event(self, event: event_pb2.Event) -> None:
        sequence = event.sequence
        if sequence != self._sequence + 1:
            if sequence <= self._sequence:
                return  # sent already: cores number densely, so the sequence alone tells
            raise StreamBrokenError(
                "DATA_LOSS",
                "Events were lost in transit.",
                retryable=True,
                details={"reason": "SEQUENCE_GAP", "after": str(self._sequence), "got": str(sequence)},
            )
        self._epoch, self._sequence = event.epoch or 1, sequence
        translated = translate(event)
        if self._stamps is not None:
            self._stamps.event(event, sequence, translated, self._caught_up)
        if translated is None:
            self.unknown += 1
            return
        self._items.append((self._epoch, sequence, translated))
        if type(translated) is events.Done or type(translated) is events.Error:
            self.terminal = translated

    def _feed_control(self, control: stream_pb2.Control) -> None:
        translated = translate_control(control, self.run_id)
        if translated is None:
            self.core_draining |= control.HasField("draining")
            return
        if isinstance(translated, events.CaughtUp):
            if self._caught_up:
                return  # The stream went on at another core: the client never fell behind.
            self._caught_up = True
        elif isinstance(translated, events.Resync):
            self.resyncs += 1
            first = cursor_of(control.resync.first)
            self._epoch, self._sequence = first.epoch, max(0, first.sequence - 1)
        self._items.append(translated)

    def fail(self, error: EdgeError, *, timestamp: float, trace_id: str = "") -> None:
        """End the stream with an error of the edge's own: its frame has no id. Too late after the end.

        Args:
            error: What went wrong.
            timestamp: Now, in Unix milliseconds.
            trace_id: The trace that holds what really happened; empty when not traced.
        """
        if self.terminal is None:
            self.terminal = events.Error(
                timestamp=timestamp,
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                details=error.details,
                trace_id=trace_id,
            )
            self._items.append((0, 0, self.terminal))

    def reconnect(self, retry_ms: int) -> None:
        """Tell the client that this edge is going down. Needless after the end.

        Args:
            retry_ms: How long the client is to wait before it follows again.
        """
        if self.terminal is None:
            self._items.append(events.Reconnect(retry_ms=retry_ms))

    def take(self, out: bytearray) -> None:
        """Append the frames of all that waits.

        Args:
            out: Appended to.
        """
        items, self._items, self._waiting_bytes = self._items, [], 0
        if self._note_taken is not None:
            self._note_taken()
        if self._merge and len(items) > 1:
            items = _merged(items)
        # A run that never got an id has only errors of the edge's own to tell, which need none.
        dialect = self._dialect or self._make_dialect("")
        for item in items:
            if isinstance(item, tuple):
                dialect.write_event(out, *item)
            else:
                dialect.write_control(out, item)


def _merged(items: list[_Item]) -> list[_Item]:
    """Return the items with neighbouring deltas of one kind joined."""
    merged: list[_Item] = []
    start = 0
    while start < len(items):
        end = start + 1
        kind = _delta_kind(items[start])
        while kind is not None and end < len(items) and _delta_kind(items[end]) is kind:
            end += 1
        merged.append(items[start] if end == start + 1 else _joined(items[start:end]))
        start = end
    return merged


def _delta_kind(item: _Item) -> type[_Delta] | None:
    """Return the kind of a delta; None for what can't be merged."""
    if isinstance(item, tuple) and isinstance(item[2], _DELTAS):
        return type(item[2])
    return None


def _joined(items: list[_Item]) -> _Waiting:
    """Return neighbouring deltas of one kind as one: the last one's place, the first one's time."""
    waiting = [item for item in items if isinstance(item, tuple)]
    deltas = [item[2] for item in waiting if isinstance(item[2], _DELTAS)]
    joined: _Delta = type(deltas[0])(
        timestamp=deltas[0].timestamp,
        content="".join([delta.content for delta in deltas]),
        tokens=sum([delta.tokens for delta in deltas]),
        first=waiting[0][1],
    )
    return waiting[-1][0], waiting[-1][1], joined


def opening(retry_ms: int) -> bytes:
    """Return a stream's first bytes.

    Args:
        retry_ms: How long a client that lost the stream waits, in milliseconds.
    """
    out = bytearray()
    frames.write_opening(out, retry_ms)
    return bytes(out)
