"""One response's stream state: order, merging, resume, budget, and the one end.

Sans-I/O: the rim feeds what a core sends, and takes the bytes that are to be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from edge.errors import EdgeError, StreamBrokenError
from edge.wire import events, frames
from edge.wire.dialects import Dialect
from edge.wire.event_id import START, Cursor
from edge.wire.translate import TERMINAL, cursor_of, translate, translate_control
from tokenwire.v1 import agent_service_pb2, event_pb2, stream_pb2

_Delta: TypeAlias = events.TextDelta | events.ReasoningDelta
_DELTAS: Final = (events.TextDelta, events.ReasoningDelta)
StreamedResponse: TypeAlias = agent_service_pb2.StreamRunResponse | agent_service_pb2.FollowRunResponse
"""What a core streams: the same fields under two names."""

_Item: TypeAlias = tuple[Cursor | None, events.StreamEvent] | events.ControlEvent


class StreamState:
    """What one client has been sent, and what waits for it.

    Args:
        dialect: Makes the dialect, once the run's id is known.
        after: The last event that the client has.
        budget_bytes: How much may wait (in encoded bytes) before `full` asks the rim to stop feeding.
        merge: Whether adjacent deltas that wait together become one frame.
    """

    def __init__(
        self,
        dialect: Callable[[str], Dialect],
        *,
        after: Cursor = START,
        budget_bytes: int,
        merge: bool = True,
    ) -> None:
        self._make_dialect = dialect
        self._dialect: Dialect | None = None
        self._budget_bytes = budget_bytes
        self._merge = merge
        self._items: list[_Item] = []
        self._waiting_bytes = 0
        self.run_id = ""
        """The run's id; empty until the first response or `name_run`."""
        self.last = after
        """The last event that was fed: the cursor from which a broken stream goes on."""
        self.terminal: events.Done | events.Error | None = None
        """The terminal event, once it was fed or made by `fail`."""
        self.unknown = 0
        """Events that were passed over since their payload is unknown here."""

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

    def feed(self, response: StreamedResponse) -> None:
        """Take in what a core sent. What comes after the terminal event is ignored.

        Args:
            response: Events or a control.

        Raises:
            StreamBrokenError: DATA_LOSS, an event was skipped: follow again from `last`.
        """
        self.name_run(response.run_id)
        self._waiting_bytes += response.ByteSize()
        for event in response.events:
            if self.terminal is not None:
                return
            self._feed_event(event)
        if self.terminal is None and response.HasField("control"):
            self._feed_control(response.control)

    def _feed_event(self, event: event_pb2.Event) -> None:
        cursor = Cursor(event.epoch or 1, event.sequence)
        if cursor.sequence <= self.last.sequence:
            return  # sent already: cores number densely, so the sequence alone tells
        if cursor.sequence != self.last.sequence + 1:
            raise StreamBrokenError(
                "DATA_LOSS",
                "Events were lost on the way.",
                retryable=True,
                details={
                    "reason": "SEQUENCE_GAP",
                    "after": str(self.last.sequence),
                    "got": str(cursor.sequence),
                },
            )
        self.last = cursor
        translated = translate(event)
        if translated is None:
            self.unknown += 1
            return
        self._items.append((cursor, translated))
        if isinstance(translated, TERMINAL):
            self.terminal = translated

    def _feed_control(self, control: stream_pb2.Control) -> None:
        translated = translate_control(control, self.run_id)
        if translated is None:
            return
        if isinstance(translated, events.Resync):
            first = cursor_of(control.resync.first)
            self.last = Cursor(first.epoch, max(0, first.sequence - 1))
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
            self._items.append((None, self.terminal))

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
        # A run that never got an id has only errors of the edge's own to tell, which need none.
        dialect = self._dialect or self._make_dialect("")
        index = 0
        while index < len(items):
            item = items[index]
            if not isinstance(item, tuple):
                dialect.write_control(out, item)
                index += 1
                continue
            end = self._end_of_deltas(items, index)
            cursor, event = item if end == index + 1 else _merged(items[index:end])
            dialect.write_event(out, cursor, event)
            index = end

    def _end_of_deltas(self, items: list[_Item], start: int) -> int:
        """Return the end of the deltas of one kind that begin at `start`; start + 1 if they stay apart."""
        item = items[start]
        kind = type(item[1]) if isinstance(item, tuple) else None
        end = start + 1
        if self._merge and kind in _DELTAS:
            while end < len(items) and isinstance(other := items[end], tuple) and type(other[1]) is kind:
                end += 1
        return end


def _merged(items: list[_Item]) -> tuple[Cursor | None, events.StreamEvent]:
    """Return adjacent deltas of one kind as one: the last one's cursor, the first one's time."""
    pieces = [(item[0], item[1]) for item in items if isinstance(item, tuple)]
    deltas = [event for _, event in pieces if isinstance(event, _DELTAS)]
    first_cursor = pieces[0][0]
    merged: _Delta = type(deltas[0])(
        timestamp=deltas[0].timestamp,
        content="".join([delta.content for delta in deltas]),
        tokens=sum([delta.tokens for delta in deltas]),
        first=first_cursor.sequence if first_cursor else None,
    )
    return pieces[-1][0], merged


def opening(retry_ms: int) -> bytes:
    """Return a stream's first bytes.

    Args:
        retry_ms: How long a client that lost the stream waits, in milliseconds.
    """
    out = bytearray()
    frames.write_opening(out, retry_ms)
    return bytes(out)
