"""The switch that tells every open stream that this edge is going down."""

from __future__ import annotations

from collections.abc import Callable


class Drain:
    """Off until `start`; then for good."""

    def __init__(self) -> None:
        self.started = False
        """Whether the edge is going down."""
        self._listeners: set[Callable[[], None]] = set()
        self._at_start = 0

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    @property
    def streams(self) -> int:
        """How many clients come back when this edge ends: those of now, or of when it began to go down."""
        return self._at_start if self.started else len(self._listeners)

    def start(self) -> None:
        """Tell every listener, once."""
        if not self.started:
            self._at_start = len(self._listeners)
            self.started = True
            for listener in tuple(self._listeners):
                listener()

    def add(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when the edge goes down.

        Args:
            listener: Called once, in the event loop.
        """
        self._listeners.add(listener)

    def remove(self, listener: Callable[[], None]) -> None:
        """Forget a listener.

        Args:
            listener: As it was added.
        """
        self._listeners.discard(listener)
