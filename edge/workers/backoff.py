"""How long a worker that died waits for its next start. Pure: time is passed in."""

from __future__ import annotations

from typing import Final

SHORTEST_S: Final = 0.5
LONGEST_S: Final = 30.0

STEADY_S: Final = 60.0
"""Who has lived so long died of something new."""


class RestartPauses:
    """The pauses of one worker: none at first, then longer each time, until it has lived for a minute."""

    def __init__(self) -> None:
        self._deaths = 0

    def next_s(self, lived_s: float) -> float:
        """Return how long to wait after a death, in seconds.

        Args:
            lived_s: How long the process had lived.
        """
        if lived_s >= STEADY_S:
            self._deaths = 0
        self._deaths += 1
        if self._deaths == 1:
            return 0.0
        return min(LONGEST_S, SHORTEST_S * 2.0 ** min(self._deaths - 2, 16))
