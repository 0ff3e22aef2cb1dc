"""How late a process's event loop is: what was due at a time, and ran when.

A light timer looks 50 times a second. Its lateness is what every socket and every timer of the process had to
wait, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tokenwire.telemetry.clock import monotonic_nano
from tokenwire.telemetry.metrics.instruments import LOOP_LAG
from tokenwire.telemetry.metrics.series import NANO

PERIOD_S: Final = 0.02
"""How long the timer waits."""

PERIOD_NANO: Final = round(PERIOD_S * NANO)

STANDS_FROM_NANO: Final = 5_000_000
"""A timer may be a little late without that anything stood: from here on it is remembered."""

REMEMBERED: Final = 1_024
"""How many times of standing still are remembered, the last ones."""

MAX_SAMPLES: Final = 5_000
"""How many values one lateness counts as, at most."""


class LoopLag:
    """Measures the event loop that it is started in, until it is stopped.

    Args:
        clock_nano: Tells the monotonic time in nanoseconds.
    """

    def __init__(self, clock_nano: Callable[[], int] = monotonic_nano) -> None:
        self._clock_nano = clock_nano
        self._stood: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._due = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to measure the running loop; nothing happens when it is measured already."""
        if self._timer is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._wait()

    def stop(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = None

    def lag_within(self, begin_nano: int, end_nano: int) -> int:
        """Return for how many nanoseconds of an interval the loop is known to have stood still.

        A tick that is overdue now counts, too: whoever asks first after a standstill is told of it.

        Args:
            begin_nano: The interval's begin, of the monotonic clock.
            end_nano: Its end.
        """
        stood = 0
        if self._timer is not None and self._clock_nano() - self._due >= STANDS_FROM_NANO:
            stood += max(0, end_nano - max(begin_nano, self._due))
        for began, ended in reversed(self._stood):
            if ended <= begin_nano:
                break
            stood += max(0, min(ended, end_nano) - max(began, begin_nano))
        return stood

    def _wait(self) -> None:
        assert self._loop is not None  # noqa: S101 # set by start
        self._due = self._clock_nano() + PERIOD_NANO
        self._timer = self._loop.call_later(PERIOD_S, self._tick)

    def _tick(self) -> None:
        now = self._clock_nano()
        late = max(0, now - self._due)
        if late >= STANDS_FROM_NANO:
            self._stood.append((self._due, now))
        # A timer that is asked for again only now would count a standstill of a second as one value among 50.
        # Counted is what a timer each PERIOD would have seen: then a percentile is of time, not of ticks.
        LOOP_LAG.observe_many_nano(range(late, -1, -PERIOD_NANO)[:MAX_SAMPLES])
        self._wait()


_LOOP_LAG: Final = LoopLag()


def loop_lag() -> LoopLag:
    """Return the process's own; it measures once it was started in the serving loop."""
    return _LOOP_LAG
