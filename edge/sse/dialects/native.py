"""The native dialect: every event as it is, with the id that resumes after it."""

from __future__ import annotations

from typing import Final

from edge.sse import frames
from edge.sse.dialects.contract import Delta, DeltaType, DialectTraits
from tokenwire.events import ControlEvent, ReasoningDelta, StreamEvent, TextDelta

_TYPE: Final[dict[DeltaType, bytes]] = {TextDelta: b"text_delta", ReasoningDelta: b"reasoning_delta"}


NATIVE: Final = DialectTraits("native", has_cursors=True, merges=True, names_run=False)


class NativeDialect:
    """Writes unnamed events with ids, and named controls without.

    Args:
        ping: Whether a heartbeat is a named event instead of a comment.
    """

    __slots__ = ("_id", "_ping")

    traits = NATIVE
    """How a response is served."""

    def __init__(self, *, ping: bool = False) -> None:
        self._id = b""
        self._ping = ping

    def headers(self) -> tuple[()]:
        """Return no headers beside those that every stream has."""
        return ()

    def begin(self, run_id: str) -> None:
        """Learn the run's id: all ids begin with it."""
        self._id = b"%b." % run_id.encode()

    def write_opening(self, out: bytearray, retry_ms: int) -> None:
        """Append the reconnection time, and a comment that defeats buffering."""
        frames.write_opening(out, retry_ms)

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: StreamEvent) -> None:
        """Append the event's frame; without an id when the event is not in the log."""
        frames.write_event(out, b"%b%d.%d" % (self._id, epoch, sequence) if sequence else b"", event)

    def delta_frame(self, delta: Delta) -> bytes:
        """Return the delta's frame, by one format: no Struct and no encoder but the text's."""
        epoch, sequence, tenths, kind, content, tokens = delta
        if tokens == 1:
            return b'data: {"type":"%b","timestamp":%d.%d,"content":%b}\nid: %b%d.%d\n\n' % (
                _TYPE[kind],
                tenths // 10,
                tenths % 10,
                frames.quoted(content),
                self._id,
                epoch,
                sequence,
            )
        return b'data: {"type":"%b","timestamp":%d.%d,"content":%b,"tokens":%d}\nid: %b%d.%d\n\n' % (
            _TYPE[kind],
            tenths // 10,
            tenths % 10,
            frames.quoted(content),
            tokens,
            self._id,
            epoch,
            sequence,
        )

    def write_control(self, out: bytearray, control: ControlEvent) -> None:
        """Append the control's frame."""
        frames.write_control(out, control)

    def write_heartbeat(self, out: bytearray) -> None:
        """Append a comment, or a ping."""
        out += frames.HEARTBEAT_PING if self._ping else frames.HEARTBEAT_COMMENT

    def write_retry(self, out: bytearray, retry_ms: int) -> None:
        """Append the reconnection time, as a line of what follows."""
        frames.write_retry(out, retry_ms)

    def write_end(self, out: bytearray) -> None:
        """Append nothing: the terminal event says all."""
