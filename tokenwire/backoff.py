"""How long to wait after a failure, and when to give up. Pure: the time is passed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

DEFAULT_PATIENCE_S: Final = 15.0
"""How long clients try to reach a server again, in seconds: longer than a lone core takes to come back, and
two cores to agree that a third is gone (7 s)."""

FACTOR: Final = 2.0
"""How much longer each wait is than the one before."""

MAX_DOUBLINGS: Final = 64
"""More would overflow a float, and `most_s` is reached long before."""


class Backoff:
    """Counts failures and says how long to wait before each next try. For one thread.

    The first wait is `first_s`; each further one is twice as long, up to `most_s`. Each is multiplied by a
    random factor, so that the clients of a failed server do not all return at once.

    Args:
        first_s: The first wait, in seconds.
        most_s: The longest wait, in seconds, before it is spread.
        spread: The smallest and the largest random factor; (1, 1) for none.
        give_up_s: How long after the first failure trying again makes no sense any more, in seconds; None
            for never.
        at_once: Whether the first try after a success follows without a wait.
        calm_s: A failure so long after the one before counts as the first, in seconds; None for never.
        chance: Returns a random number from 0 to 1.
    """

    def __init__(  # noqa: PLR0913 # what a retry policy is made of
        self,
        first_s: float,
        most_s: float,
        *,
        spread: tuple[float, float] = (0.5, 1.0),
        give_up_s: float | None = None,
        at_once: bool = False,
        calm_s: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.failures = 0
        """How many tries have failed since the last success."""
        self.wait_s = 0.0
        """What the last failure has to wait; 0 after a success."""
        self._first_s = first_s
        self._most_s = most_s
        self._spread = spread
        self._give_up_s = give_up_s
        self._at_once = at_once
        self._calm_s = calm_s
        self._chance = chance
        self._since_s = 0.0
        self._last_s = 0.0

    def succeeded(self) -> None:
        """Take note of a success: the next failure is the first again."""
        self.failures = 0
        self.wait_s = 0.0

    def failed(self, now_s: float, *, at_least_s: float = 0.0) -> float | None:
        """Return how long to wait before the next try, in seconds; None to give up.

        Args:
            now_s: Now, in seconds of a monotonic clock.
            at_least_s: What the server asked for, in seconds.
        """
        if self._calm_s is not None and self.failures and now_s - self._last_s >= self._calm_s:
            self.succeeded()
        if not self.failures:
            self._since_s = now_s
        self._last_s = now_s
        wait_s = max(at_least_s, self._planned_s())
        if self._give_up_s is not None and now_s + wait_s > self._since_s + self._give_up_s:
            return None
        self.failures += 1
        self.wait_s = wait_s
        return wait_s

    def _planned_s(self) -> float:
        """Return the next wait, spread."""
        doublings = self.failures - self._at_once
        if doublings < 0:
            return 0.0
        least, most = self._spread
        factor = least + (most - least) * self._chance()
        return min(self._most_s, self._first_s * FACTOR ** min(doublings, MAX_DOUBLINGS)) * factor
