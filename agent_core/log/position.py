"""Places in a run's log."""

from __future__ import annotations

from typing import Final, NamedTuple

FIRST_EPOCH: Final = 1


class Position(NamedTuple):
    """A place in a run's log. Positions compare as (epoch, sequence)."""

    epoch: int
    sequence: int


START: Final = Position(FIRST_EPOCH, 0)
"""Before the first event."""
