"""Whether the log is there: slow to believe that it is not, and slow to believe that it is back. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

AWAY_S: Final = 2.0
"""How long the log must have been away before the core counts as unfit for new runs: a failover that takes
a moment is none of anybody's business."""

BACK_S: Final = 2.0
"""How long it must have been there again."""


class LogHealth:
    """What is known of the log, from those who use it.

    Args:
        on_change: Called with what holds now, whenever that changes.
    """

    def __init__(self, on_change: Callable[[bool], None] = lambda _: None) -> None:
        self.well = True
        """Whether the log counts as there."""
        self.on_change = on_change
        self._away_since_s: float | None = None
        self._there_since_s: float | None = None

    def away(self, now_s: float) -> None:
        """Take note that something failed because the log is away.

        Args:
            now_s: Now, in seconds of the monotonic clock.
        """
        self._there_since_s = None
        if self._away_since_s is None:
            self._away_since_s = now_s
        if now_s - self._away_since_s >= AWAY_S:
            self._set(well=False)

    def there(self, now_s: float) -> None:
        """Take note that the log has done something.

        Args:
            now_s: Now, in seconds of the monotonic clock.
        """
        self._away_since_s = None
        if self._there_since_s is None:
            self._there_since_s = now_s
        if now_s - self._there_since_s >= BACK_S:
            self._set(well=True)

    @property
    def settled(self) -> bool:
        """True while nothing is wrong, and nothing was a moment ago."""
        return self.well and self._away_since_s is None

    def _set(self, *, well: bool) -> None:
        """Tell what holds now, where that is something else."""
        if well != self.well:
            self.well = well
            self.on_change(well)
