"""How long a worker that died waits for its next start. Pure: time is passed in."""

from __future__ import annotations

from typing import Final

from tokenwire.backoff import Backoff

SHORTEST_S: Final = 0.5
LONGEST_S: Final = 30.0

STEADY_S: Final = 60.0
"""Who has lived so long died of something new."""


class RestartPauses:
    """The pauses of one worker: none at first, then longer each time, until it has lived for a minute."""

    def __init__(self) -> None:
        self._backoff = Backoff(SHORTEST_S, LONGEST_S, spread=(1.0, 1.0), at_once=True)

    def next_s(self, lived_s: float) -> float:
        """Return how long to wait after a death, in seconds.

        Args:
            lived_s: How long the process had lived.
        """
        if lived_s >= STEADY_S:
            self._backoff.succeeded()
        return self._backoff.failed(0.0) or 0.0
