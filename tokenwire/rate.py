"""How often something may be done that would be too much if it were done each time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rate:
    """Allows something so many times a second, and as many at once. For one thread.

    Args:
        per_s: How many times.
        clock_s: Tells the time in seconds; it never goes back.
    """

    def __init__(self, per_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock_s = clock_s
        self._left = per_s
        self._at_s = clock_s()

    def take(self) -> bool:
        """Return whether it is allowed once more, now."""
        now_s = self._clock_s()
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
