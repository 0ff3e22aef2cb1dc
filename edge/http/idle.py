"""The connections on which no request is being served: only so many are kept."""

from __future__ import annotations

from typing import Protocol


class Idle(Protocol):
    """A connection that can be closed because it is idle."""

    def close_idle(self) -> None:
        """Close it. It then discards itself."""


class IdleConnections:
    """Idle connections, the one that has been idle longest first. One too many closes that one.

    So silent connections push out each other, and not who asks something: a client that has just connected is
    the last to go.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Idle, None] = {}  # a dict keeps the order

    def __len__(self) -> int:
        return len(self._idle)

    def add(self, connection: Idle) -> None:
        """Count a connection as idle; one that is idle already keeps its place.

        Args:
            connection: The connection.
        """
        self._idle.setdefault(connection)
        if len(self._idle) > self._most:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.close_idle()

    def discard(self, connection: Idle) -> None:
        """Count a connection as idle no more: a request is being served, or it was closed.

        Args:
            connection: The connection.
        """
        self._idle.pop(connection, None)
