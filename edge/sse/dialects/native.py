"""The native dialect: every event as it is, with the id that resumes after it."""

from __future__ import annotations

from edge.sse import frames
from tokenwire.events import ControlEvent, StreamEvent


class NativeDialect:
    """Writes unnamed events with ids, and named controls without.

    Args:
        run_id: The run that the events belong to.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: StreamEvent) -> None:
        """Append the event's frame; without an id when the event is not in the log."""
        event_id = f"{self._run_id}.{epoch}.{sequence}" if sequence else ""
        frames.write_event(out, event_id, event)

    def write_control(self, out: bytearray, control: ControlEvent) -> None:
        """Append the control's frame."""
        frames.write_control(out, control)
