"""Histograms, counters and gauges: plain numbers for each combination of label values.

The SDK's `Histogram.record` costs 10 to 16 µs, as much as all else that is done for a token: what is counted
for each token is counted here, in a tenth of a microsecond.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Literal, TypeAlias, TypeVar

Kind: TypeAlias = Literal["histogram", "counter", "gauge"]
Key: TypeAlias = tuple[str, ...]
"""A value for each label, in the order of their declaration."""

Process: TypeAlias = Literal["edge", "core", "both"]
"""Which of the processes write an instrument."""

NANO: Final = 1_000_000_000

MAX_SERIES: Final = 200
"""How many combinations of label values an instrument has. What comes later is counted under `OTHER`: a
model's name is text of the outside, and a scrape must stay small."""

OTHER: Final = "other"

BUFFERED: Final = 128
"""How many durations wait in a buffer at most."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One of the values that were counted, and where its trace is."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    sequence: int
    """The event that it was measured at."""
    value: float
    """In the instrument's unit."""
    unix_ns: int
    """When it was counted."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an instrument is: all but its numbers."""

    name: str
    kind: Kind
    unit: str
    """In UCUM: `s`, or a word in braces for what is merely counted, as in `{stream}`."""
    description: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The labels, and the values that each can have: none where they are not known beforehand. Series whose
    values are all known begin at zero, so that the first increase is seen."""
    by: Process = "both"
    bounds_nano: tuple[int, ...] = ()
    """A histogram's upper bounds, inclusive."""


@dataclass(slots=True)
class HistogramPoint:
    """The numbers of one combination of label values."""

    counts: list[int]
    """How many values fell between each bound and the one before; the last are those beyond all bounds."""
    total_nano: int = 0
    min_nano: int = sys.maxsize
    """Without a value: more than any."""
    max_nano: int = 0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)
    """The last one of a bucket."""

    def copy(self) -> HistogramPoint:
        """Return one that does not change."""
        return replace(self, counts=self.counts.copy(), exemplars=self.exemplars.copy())


@dataclass(slots=True)
class NumberPoint:
    """The number of one combination of label values."""

    value: float = 0
    exemplar: Exemplar | None = None

    def copy(self) -> NumberPoint:
        """Return one that does not change."""
        return replace(self)


Point = TypeVar("Point", HistogramPoint, NumberPoint)


class Instrument(Generic[Point]):
    """What all kinds share. For any thread.

    Args:
        declaration: What it is.
        lock: Held while numbers change, and while they are read.
    """

    def __init__(self, declaration: Declaration, lock: threading.RLock) -> None:
        self.declaration = declaration
        self._lock = lock
        self._points: dict[Key, Point] = {}

    def begin_at_zero(self, key: Key) -> None:
        """Show a series before anything is counted.

        Args:
            key: The values of its labels.
        """
        with self._lock:
            self._point(key)

    def points(self) -> Mapping[Key, Point]:
        """Return a copy of the numbers, all of one moment."""
        with self._lock:
            return {key: point.copy() for key, point in self._points.items()}

    def clear(self) -> None:
        """Forget all numbers."""
        with self._lock:
            self._points.clear()

    def _point(self, key: Key) -> Point:
        """Return the numbers to change.

        Raises:
            ValueError: These are not as many values as the instrument has labels.
        """
        point = self._points.get(key)
        if point is not None:
            return point
        labels = self.declaration.labels
        if len(key) != len(labels):
            raise ValueError(f"{self.declaration.name} has {len(labels)} labels, not {len(key)}")
        if len(self._points) >= MAX_SERIES:
            key = (OTHER,) * len(key)
        return self._points.setdefault(key, self._zero())

    def _zero(self) -> Point:
        raise NotImplementedError


class Histogram(Instrument[HistogramPoint]):
    """How often a duration was how long."""

    def __init__(self, declaration: Declaration, lock: threading.RLock) -> None:
        super().__init__(declaration, lock)
        self._buffers: dict[Key, Buffer] = {}

    def buffer(self, *labels: str) -> Buffer:
        """Return where durations wait that come one by one, and often: counted together, each costs a tenth.

        Args:
            labels: The values of the labels, of a few that are known: a buffer stays.
        """
        with self._lock:
            return self._buffers.setdefault(labels, Buffer(self, labels))

    def points(self) -> Mapping[Key, HistogramPoint]:
        """Return a copy of the numbers, all of one moment."""
        with self._lock:
            for buffer in self._buffers.values():
                buffer.flush()
            return super().points()

    def clear(self) -> None:
        """Forget all numbers."""
        with self._lock:
            for buffer in self._buffers.values():
                buffer.flush()
            super().clear()

    def observe_many_nano(self, values: Sequence[int], key: Key = ()) -> None:
        """Count durations.

        Args:
            values: In nanoseconds, in any order.
            key: The values of the labels.
        """
        if not values:
            return
        with self._lock:
            point = self._point(key)
            if len(values) == 1:
                self._observe_nano(point, values[0])
                return
            ordered = sorted(values)
            _count(ordered, self.declaration.bounds_nano, point.counts)
            point.total_nano += sum(ordered)
            point.min_nano = min(point.min_nano, ordered[0])
            point.max_nano = max(point.max_nano, ordered[-1])

    def _observe_nano(self, point: HistogramPoint, nano: int) -> None:
        point.counts[bisect_left(self.declaration.bounds_nano, nano)] += 1
        point.total_nano += nano
        point.min_nano = min(point.min_nano, nano)
        point.max_nano = max(point.max_nano, nano)

    def observe(self, seconds: float, *labels: str, exemplar: Exemplar | None = None) -> None:
        """Count one duration.

        Args:
            seconds: How long.
            labels: The values of the labels.
            exemplar: Where to look at it: shown with the bucket that its own value is in.
        """
        with self._lock:
            self.observe_many_nano((round(seconds * NANO),), labels)
            if exemplar is not None:
                bucket = bisect_left(self.declaration.bounds_nano, round(exemplar.value * NANO))
                self._point(labels).exemplars[bucket] = exemplar

    def _zero(self) -> HistogramPoint:
        return HistogramPoint([0] * (len(self.declaration.bounds_nano) + 1))


class Buffer:
    """Durations that are not counted yet; they are before anybody reads the numbers.

    Args:
        histogram: Where they are counted.
        key: The values of its labels.
    """

    def __init__(self, histogram: Histogram, key: Key) -> None:
        self._histogram = histogram
        self._key = key
        self._values: list[int] = []

    def add_nano(self, value: int) -> None:
        """Count a duration.

        Args:
            value: In nanoseconds.
        """
        self._values.append(value)
        if len(self._values) >= BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Count what waits."""
        # Another thread may add meanwhile: what it adds stays for the next time.
        values = self._values[:]
        self._histogram.observe_many_nano(values, self._key)
        del self._values[: len(values)]


class Number(Instrument[NumberPoint]):
    """What counters and gauges share."""

    def __init__(self, declaration: Declaration, lock: threading.RLock) -> None:
        super().__init__(declaration, lock)
        self._function: Callable[[], Mapping[Key, float]] | None = None

    def read_from(self, function: Callable[[], Mapping[Key, float]]) -> None:
        """Ask for the numbers whenever they are read, in any thread: for what is counted elsewhere.

        Args:
            function: Returns the number of each combination of label values.
        """
        self._function = function

    def points(self) -> Mapping[Key, NumberPoint]:
        """Return a copy of the numbers."""
        points = dict(super().points())
        if self._function is not None:
            points |= {key: NumberPoint(value) for key, value in self._function().items()}
        return points

    def clear(self) -> None:
        """Forget all numbers, and where to ask for them."""
        super().clear()
        self._function = None

    def _zero(self) -> NumberPoint:
        return NumberPoint()


class Counter(Number):
    """How often something has happened."""

    def add(self, number: float, *labels: str, exemplar: Exemplar | None = None) -> None:
        """Count more.

        Args:
            number: How many, at least 0.
            labels: The values of the labels.
            exemplar: Where to look at the last of them.
        """
        with self._lock:
            point = self._point(labels)
            point.value += number
            if exemplar is not None:
                point.exemplar = exemplar


class Gauge(Number):
    """How many there are now."""

    def add(self, number: float, *labels: str) -> None:
        """Change it by so many: -1 for one that is gone.

        Args:
            number: How many more.
            labels: The values of the labels.
        """
        with self._lock:
            self._point(labels).value += number

    def set_function(self, function: Callable[[], float]) -> None:
        """Ask for the number whenever it is read, which may be in another thread. For gauges without labels.

        Args:
            function: Returns the number.
        """
        self.read_from(lambda: {(): function()})


def _count(ordered: list[int], bounds: tuple[int, ...], counts: list[int]) -> None:
    """Add values to the buckets.

    Args:
        ordered: The values, ascending: then it is a bound that is looked up, not each value.
        bounds: The upper bounds.
        counts: The buckets, one more than bounds.
    """
    index, below, number = bisect_left(bounds, ordered[0]), 0, len(ordered)
    while below < number and index < len(bounds):
        upto = bisect_right(ordered, bounds[index], below)
        counts[index] += upto - below
        below = upto
        index += 1
    counts[-1] += number - below
