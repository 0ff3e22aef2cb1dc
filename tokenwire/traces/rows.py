"""From segments to rows: what each token's stamps say. Pure.

A row holds stamps as they were taken, in nanoseconds of the Unix clock of the machine that took them.
What is derived from them (the time in a hop, the time since the start) uses the published offset between
the two clocks: the core's stamps are moved onto the edge's clock. Nothing is clamped: a hop may come out
negative, by no more than the clock's error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tokenwire.latency.stages import CORE_STAGES, EDGE_STAGES, HOPS, STAGES, Hop, Stage
from tokenwire.telemetry import attributes as names
from tokenwire.traces.spans import AttributeValue, Span

NS_PER_US: Final = 1_000
CORE_SIDE: Final = frozenset(STAGES[:CORE_STAGES])
"""The stages that are stamped by the core's clock."""

SERVED_STAGES: Final = STAGES[:EDGE_STAGES]
"""The stages on this side of the browser: a stream's gaps are those at the last one it has."""


class SegmentError(ValueError):
    """A segment's attributes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the edge's clock is ahead of another one, the core's or the page's, as far as is known."""

    offset_us: float = 0.0
    error_us: float = 0.0
    method: str = "same_host"

    @property
    def is_skewed(self) -> bool:
        """Whether numbers between the two machines are less than certain."""
        return self.method != "same_host" or bool(self.offset_us) or bool(self.error_us)

    @property
    def is_unknown(self) -> bool:
        """Whether the other machine's clock is none that anything is known of."""
        return self.method == "none"


SAME_CLOCK: Final = Clock()


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens: for each stage one stamp a token, in microseconds from `t0_ns`."""

    first: int
    count: int
    t0_ns: int
    stages: Mapping[Stage, Sequence[int]]
    is_replayed: bool = False
    clock: Clock = SAME_CLOCK


@dataclass(slots=True)
class Row:
    """One token, or another event: its stamps, and what they say beside those of the row before."""

    sequence: int
    stamps: dict[Stage, int] = field(default_factory=dict)
    """Unix nanoseconds, as they were taken."""
    is_replayed: bool = False
    segment: int = 0
    """The first sequence of the segment that the row is from."""
    clock: Clock = SAME_CLOCK
    browser_clock: Clock = SAME_CLOCK
    """The page's, where its report says so."""
    gap_ns: int | None = None
    """Between the last stage of the row before and this one's; None for the first."""
    hops: dict[Hop, int] = field(default_factory=dict)
    """Nanoseconds in each hop; `model` is the time since the row before was yielded."""
    same_write: int = 0
    """How many consecutive rows share this one's write stamp: they left in one write. 0 for none."""
    note: str = ""
    """Why the row came late, where that was no hop's doing."""

    def edge_time(self, stage: Stage) -> int | None:
        """Return a stamp by the edge's clock, in Unix nanoseconds."""
        stamp = self.stamps.get(stage)
        if stamp is None:
            return None
        if stage in CORE_SIDE:
            return stamp + round(self.clock.offset_us * NS_PER_US)
        return stamp + round(self.browser_clock.offset_us * NS_PER_US) if stage == "browser" else stamp

    def clock_of(self, hop: Hop) -> Clock:
        """Return the clock that a hop's time depends on besides the edge's."""
        return self.browser_clock if hop == "browser" else self.clock

    @property
    def end_stage(self) -> Stage | None:
        """The last stage on this side of the browser that has a stamp; `browser` where there is no other."""
        served = [stage for stage in SERVED_STAGES if stage in self.stamps]
        return served[-1] if served else ("browser" if "browser" in self.stamps else None)

    @property
    def end_ns(self) -> int:
        """When the token left, by the edge's clock."""
        stage = self.end_stage
        return (self.edge_time(stage) or 0) if stage else 0

    @property
    def begin_ns(self) -> int:
        """The first of its stamps, by the edge's clock."""
        return next((time for stage in STAGES if (time := self.edge_time(stage)) is not None), 0)


def micros(ns: int) -> int:
    """Return nanoseconds as the nearest whole microseconds."""
    return (ns + NS_PER_US // 2) // NS_PER_US


def decode_deltas(text: str) -> list[int]:
    """Return the numbers that a stage's string stands for: `a,d1,d2` is a, a+d1, a+d1+d2.

    Raises:
        SegmentError: Something in it is no whole number.
    """
    numbers: list[int] = []
    total = 0
    try:
        for part in text.split(",") if text else ():
            total += int(part)
            numbers.append(total)
    except ValueError as error:
        raise SegmentError(f"{error}") from error
    return numbers


def segment_of(span: Span) -> Segment:
    """Return what a `tokens` span holds.

    Raises:
        SegmentError: An attribute is missing, or a stage does not have as many stamps as there are tokens.
    """
    found = span.attributes
    first, count, t0 = (
        _whole(found, name) for name in (names.TOKENS_FIRST, names.TOKENS_COUNT, names.TOKENS_T0)
    )
    stages: dict[Stage, Sequence[int]] = {}
    for stage in STAGES:
        name = names.TOKENS_STAGE.format(stage=stage)
        if name not in found:
            continue
        stages[stage] = decode_deltas(str(found[name]))
        if len(stages[stage]) != count:
            raise SegmentError(f"{name} has {len(stages[stage])} stamps for {count} tokens")
    return Segment(first, count, t0, stages, bool(found.get(names.TOKENS_REPLAYED)), clock_of(span))


def clock_of(span: Span) -> Clock:
    """Return what a span says of the clocks; the same clock where it says nothing."""
    if names.CLOCK_METHOD not in span.attributes and names.CLOCK_OFFSET_US not in span.attributes:
        return SAME_CLOCK
    offset, error = span.number(names.CLOCK_OFFSET_US), span.number(names.CLOCK_ERROR_US)
    return Clock(offset or 0.0, error or 0.0, span.text(names.CLOCK_METHOD) or "none")


def rows_of(segments: Iterable[Segment], start_ns: int | None = None) -> list[Row]:
    """Return the rows of a stream, by sequence, each stage of a token taken from the segment that has it.

    Args:
        segments: In any order; a stage that two segments have is taken from the first of them.
        start_ns: When the request arrived: the first row's time in `model` counts from it.
    """
    by_sequence: dict[int, Row] = {}
    for segment in segments:
        _add(by_sequence, segment)
    rows = [by_sequence[sequence] for sequence in sorted(by_sequence)]
    before: Row | None = None
    for row in rows:
        _derive(row, before, start_ns)
        before = row
    _mark_same_writes(rows)
    return rows


def _add(rows: dict[int, Row], segment: Segment) -> None:
    is_browser_only = set(segment.stages) == {"browser"}
    for i in range(segment.count):
        row = rows.setdefault(segment.first + i, Row(segment.first + i))
        for stage, numbers in segment.stages.items():
            row.stamps.setdefault(stage, segment.t0_ns + numbers[i] * NS_PER_US)
        if is_browser_only:
            # It is written later, with the page's clock, and says nothing of the core's.
            row.browser_clock = segment.clock
        else:
            row.is_replayed, row.segment = segment.is_replayed, segment.first
            row.clock = segment.clock


def _derive(row: Row, before: Row | None, start_ns: int | None) -> None:
    if before is not None:
        row.gap_ns = row.end_ns - before.end_ns
    times = [(hop, row.edge_time(stage)) for stage, hop in zip(STAGES, HOPS, strict=True)]
    earlier = before.edge_time("model") if before is not None else start_ns
    for hop, time in times:
        if hop == "browser" and row.browser_clock.is_unknown:
            # Pages' clocks may be off by hours: such a time would say nothing.
            continue
        # A replayed row has no `model` stamp: its first hop can't be told.
        if time is not None and earlier is not None:
            row.hops[hop] = time - earlier
        earlier = time


def _mark_same_writes(rows: Sequence[Row]) -> None:
    begin = 0
    for i in range(1, len(rows) + 1):
        if i < len(rows) and _is_same_write(rows[i - 1], rows[i]):
            continue
        if i - begin > 1:
            for row in rows[begin:i]:
                row.same_write = i - begin
        begin = i


def _is_same_write(before: Row, row: Row) -> bool:
    first, second = before.stamps.get("write"), row.stamps.get("write")
    # The same stamp may come out a microsecond apart in two segments, which round from times of their own.
    return (
        first is not None
        and second is not None
        and abs(second - first) <= (0 if before.segment == row.segment else NS_PER_US)
    )


def _whole(found: Mapping[str, AttributeValue], name: str) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise SegmentError(f"{name} is missing" if value is None else f"{name} is {value!r}")
    try:
        return int(value)
    except ValueError as error:
        raise SegmentError(f"{name} is {value!r}") from error
