"""Where a process's instruments are."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

from tokenwire.telemetry.metrics.series import (
    NANO,
    Counter,
    Declaration,
    Gauge,
    Histogram,
    Process,
)

AnyInstrument: TypeAlias = Histogram | Counter | Gauge
OneInstrument = TypeVar("OneInstrument", Histogram, Counter, Gauge)


class Home:
    """The instruments of a process, each made once by its name."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._instruments: dict[str, AnyInstrument] = {}
        self.resource: Mapping[str, str] = {}
        """What the process is: `service.name` and its like."""

    def histogram(
        self,
        name: str,
        description: str,
        *,
        bounds_s: Sequence[float],
        labels: Mapping[str, Sequence[str]] | None = None,
        by: Process = "both",
    ) -> Histogram:
        """Return a new histogram of durations in seconds.

        Args:
            name: Its name for OTLP.
            description: What it counts.
            bounds_s: The upper bounds of its buckets, ascending, in seconds.
            labels: Its labels and the values that each can have; none where they are not known beforehand.
            by: Who writes it.

        Raises:
            ValueError: There is one of that name.
        """
        bounds = tuple(round(bound * NANO) for bound in bounds_s)
        declaration = Declaration(name, "histogram", "s", description, labels or {}, by, bounds)
        return self._keep(Histogram(declaration, self._lock))

    def counter(
        self,
        name: str,
        description: str,
        *,
        unit: str,
        labels: Mapping[str, Sequence[str]] | None = None,
        by: Process = "both",
    ) -> Counter:
        """Return a new counter; the arguments are those of `histogram`, and a unit in UCUM.

        Raises:
            ValueError: There is one of that name.
        """
        return self._keep(
            Counter(Declaration(name, "counter", unit, description, labels or {}, by), self._lock)
        )

    def gauge(
        self,
        name: str,
        description: str,
        *,
        unit: str,
        labels: Mapping[str, Sequence[str]] | None = None,
        by: Process = "both",
    ) -> Gauge:
        """Return a new gauge; the arguments are those of `histogram`, and a unit in UCUM.

        Raises:
            ValueError: There is one of that name.
        """
        return self._keep(Gauge(Declaration(name, "gauge", unit, description, labels or {}, by), self._lock))

    def __iter__(self) -> Iterator[AnyInstrument]:
        """Yield all instruments in the order of their declaration."""
        return iter(self._instruments.values())

    def begin(self, process: Literal["edge", "core"]) -> None:
        """Show, at zero, each series that this process may come to write and whose labels are known.

        Args:
            process: Which one it is.
        """
        for instrument in self:
            declaration = instrument.declaration
            if declaration.by in (process, "both") and all(declaration.labels.values()):
                for key in itertools.product(*declaration.labels.values()):
                    instrument.begin_at_zero(key)

    def clear(self) -> None:
        """Forget all numbers, for tests: the instruments stay."""
        for instrument in self:
            instrument.clear()

    def _keep(self, instrument: OneInstrument) -> OneInstrument:
        name = instrument.declaration.name
        if name in self._instruments:
            raise ValueError(f"{name} is declared twice")
        self._instruments[name] = instrument
        return instrument


_HOME: Final = Home()


def home() -> Home:
    """Return the process's home."""
    return _HOME
