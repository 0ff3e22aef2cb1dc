"""Segments: up to 128 consecutive rows of a stream's stamps, and their form as strings.

A string for each stage is the cheapest carrier of every token that no backend cuts, drops or refuses:
arrays take ten times as long to encode, span events are capped at 128, bytes are lost by some.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import sub
from typing import Final, NamedTuple

from tokenwire.latency.stages import STAGES, Stage

MAX_ROWS: Final = 128
"""The most rows of a segment: with differences of up to a day, its strings stay below 2,048 bytes, where
backends begin to cut."""

_MICRO: Final = 1_000


class Segment(NamedTuple):
    """Consecutive rows of one stream, one for each event, whatever its kind."""

    first: int
    """The sequence of the first row; row i is the event `first + i`."""
    columns: Sequence[Sequence[int]]
    """A column of stamps for each stage, in the order of `STAGES`, in nanoseconds of the monotonic clock."""
    replayed: bool
    """Whether the rows were in the log when the stream's follow began: they have no live way."""

    def packed(self) -> Segment:
        """Return the same in a fifth of the memory, to be kept."""
        return self._replace(columns=[array("q", column) for column in self.columns])

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.columns[0])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are told: of replayed rows `recv` and `write`; at the core `send` alone."""
        names = STAGES[: len(self.columns)]
        if not self.replayed:
            return names
        return names[STAGES.index("recv") :] or names[-1:]

    @property
    def begin_nano(self) -> int:
        """The first stamp of the first row that is told."""
        return self.columns[STAGES.index(self.stages[0])][0]

    @property
    def end_nano(self) -> int:
        """The last stamp of the last row."""
        return self.columns[-1][-1]

    def origin(self, wall_offset_nano: int) -> int:
        """Return what all strings count from: `begin_nano`, to the nearest microsecond of the Unix time.

        Counted from whole microseconds, the stamps of all segments are rounded alike: a later one is never
        told as the earlier one.

        Args:
            wall_offset_nano: What has to be added to a time of the monotonic clock to get the Unix time.
        """
        unix_nano = self.begin_nano + wall_offset_nano
        return (unix_nano + _MICRO // 2) // _MICRO * _MICRO - wall_offset_nano

    def strings(self, origin: int) -> dict[Stage, str]:
        """Return the stamps of each stage, as `deltas` writes them.

        Args:
            origin: What they count from.
        """
        return {stage: deltas(self.columns[STAGES.index(stage)], origin) for stage in self.stages}


def deltas(stamps: Sequence[int], origin: int) -> str:
    """Return stamps as one string: microseconds from the origin, each next the difference to the one before.

    The time since the origin is rounded, then the differences are taken: rounding each of them would drift.

    Args:
        stamps: In nanoseconds; at least one.
        origin: In nanoseconds of the same clock.
    """
    micros = [(stamp - origin + _MICRO // 2) // _MICRO for stamp in stamps]
    return ",".join(map(str, [micros[0], *map(sub, micros[1:], micros)]))
