"""What a dialect is."""

from __future__ import annotations

from typing import Protocol

from tokenwire.events import ControlEvent, StreamEvent


class Dialect(Protocol):
    """Turns one run's events into frames.

    An instance serves one response. It is fed from the run's first event; where a dialect has state
    (open texts, open tool calls), that state, not the position, decides what a frame looks like.
    """

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: StreamEvent) -> None:
        """Append an event's frames.

        Args:
            out: Appended to.
            epoch: The event's epoch.
            sequence: The event's sequence; 0 for an event that is not in the log.
            event: The event.
        """

    def write_control(self, out: bytearray, control: ControlEvent) -> None:
        """Append a control's frames, if the dialect has any for it.

        Args:
            out: Appended to.
            control: The control.
        """
