"""What a dialect is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from tokenwire.events import ControlEvent, ReasoningDelta, StreamEvent, TextDelta

DeltaType: TypeAlias = type[TextDelta] | type[ReasoningDelta]

Delta: TypeAlias = tuple[int, int, int, DeltaType, str, int]
"""One piece of text of the log, as it comes: epoch, sequence, creation in tenths of a Unix millisecond, kind,
content, tokens. A bare tuple instead of a Struct, since one is made for every token."""


class DialectTraits(NamedTuple):
    """How a response of a dialect is served: what its frames don't tell."""

    name: str
    """The dialect's name in metrics and traces."""
    has_cursors: bool
    """Whether its clients resume by themselves behind the last event that they have, as an `EventSource`
    does. Others take a clean end without a terminal event for a whole answer, and can't be told of a gap."""
    merges: bool
    """Whether neighbouring deltas may become one frame. Not where clients count frames."""
    names_run: bool
    """Whether the headers have to name the run: then they wait until it has begun."""


class Dialect(Protocol):
    """Turns one run's events into frames, and owns all else that the client sees: from opening to end.

    An instance serves one response. It is fed from the run's first event; where a dialect has state
    (open texts, open tool calls), that state, not the position, decides what a frame looks like.

    A worked sequence: `write_opening`, `begin`, `write_event`, `delta_frame` …, `write_heartbeat`,
    `write_event` (terminal), `write_end`. A client that is to come back gets a control instead, and no end.
    """

    @property
    def traits(self) -> DialectTraits:
        """How a response is served."""

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the response's headers beside those that every stream has, as far as they are known."""

    def begin(self, run_id: str) -> None:
        """Learn the run's id, before any event of it.

        Args:
            run_id: The run that the events belong to.
        """

    def write_opening(self, out: bytearray, retry_ms: int) -> None:
        """Append the response's first bytes.

        Args:
            out: Appended to.
            retry_ms: How long a client that lost the stream waits before it comes back, in milliseconds.
        """

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: StreamEvent) -> None:
        """Append an event's frames.

        Args:
            out: Appended to.
            epoch: The event's epoch.
            sequence: The event's sequence; 0 for an event that is not in the log.
            event: The event.
        """

    def delta_frame(self, delta: Delta) -> bytes:
        """Return the frames of one delta: the same that `write_event` writes of it, sooner.

        Args:
            delta: The delta.
        """

    def write_control(self, out: bytearray, control: ControlEvent) -> None:
        """Append a control's frames, if the dialect has any for it.

        Args:
            out: Appended to.
            control: The control.
        """

    def write_heartbeat(self, out: bytearray) -> None:
        """Append what is written into a silence.

        Args:
            out: Appended to.
        """

    def write_retry(self, out: bytearray, retry_ms: int) -> None:
        """Append another time to come back, before what follows.

        Args:
            out: Appended to.
            retry_ms: How long a client that lost the stream waits before it comes back, in milliseconds.
        """

    def write_end(self, out: bytearray) -> None:
        """Append what follows the terminal event, if anything does.

        Args:
            out: Appended to.
        """
