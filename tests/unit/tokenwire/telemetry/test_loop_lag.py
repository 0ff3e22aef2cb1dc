"""What is measured of an event loop that stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.processes import wait_until
from tokenwire.telemetry.clock import monotonic_nano
from tokenwire.telemetry.loop_lag import MAX_SAMPLES, PERIOD_NANO, LoopLag, loop_lag
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import LOOP_LAG

MS = 1_000_000


@pytest.fixture
async def lag(metrics: Home) -> AsyncIterator[LoopLag]:
    """Measures the test's own loop."""
    del metrics
    lag = LoopLag()
    lag.start()
    yield lag
    lag.stop()


async def ticks(number: int) -> None:
    """Return once the timer has ticked so often more."""
    before = counted()
    async with asyncio.timeout(10):
        while counted() < before + number:
            await asyncio.sleep(0.005)


def counted() -> int:
    return sum(sum(point.counts) for point in LOOP_LAG.points().values())


async def test_a_standstill_is_known_at_once(lag: LoopLag) -> None:
    """Whoever runs first after it can tell it, before the timer has run: it is overdue."""
    await ticks(2)
    begin = monotonic_nano()
    time.sleep(0.2)  # noqa: ASYNC251 # it is to block
    end = monotonic_nano()
    assert (end - begin) / 2 < lag.lag_within(begin, end) <= end - begin


async def test_a_standstill_is_remembered(lag: LoopLag) -> None:
    """For an interval that holds all of it, a part of it, or nothing of it."""
    await ticks(2)
    begin = monotonic_nano()
    time.sleep(0.2)  # noqa: ASYNC251 # it is to block
    end = monotonic_nano()
    await ticks(2)
    whole = lag.lag_within(begin - 1_000 * MS, monotonic_nano())
    assert whole >= 150 * MS
    assert 40 * MS < lag.lag_within(begin + 50 * MS, begin + 100 * MS) <= 50 * MS
    assert lag.lag_within(begin - 2_000 * MS, begin - 1_000 * MS) == 0
    assert lag.lag_within(end, begin) == 0


async def test_a_loop_that_turns_has_no_lag(lag: LoopLag) -> None:
    """An interval of waiting is not one of standing still: but for one in which the machine was busy."""
    async with asyncio.timeout(10):
        stood = 1
        while stood:
            begin = monotonic_nano()
            await ticks(2)
            stood = lag.lag_within(begin, monotonic_nano())


@pytest.mark.usefixtures("lag")
async def test_a_standstill_counts_as_long_as_it_lasted() -> None:
    """As many values as timers would have come in it: a percentile is one of time, not of ticks."""
    await ticks(2)
    time.sleep(0.3)  # noqa: ASYNC251 # it is to block
    await ticks(2)
    (point,) = LOOP_LAG.points().values()
    above_100_ms = sum(point.counts[LOOP_LAG.declaration.bounds_nano.index(100 * MS) + 1 :])
    assert above_100_ms >= (300 - 100 - 20) // 20 - 1


async def test_a_process_that_was_stopped_for_hours_counts_a_bounded_number(metrics: Home) -> None:
    """A laptop that slept does not come back with a million values."""
    del metrics
    now = 0
    lag = LoopLag(lambda: now)
    lag.start()
    now = 10 * MAX_SAMPLES * PERIOD_NANO
    await ticks(1)
    lag.stop()
    assert counted() == MAX_SAMPLES


async def test_it_is_started_once_and_stopped_for_good(lag: LoopLag) -> None:
    """Two timers would count all of it twice."""
    lag.start()
    lag.stop()
    lag.stop()
    before = counted()
    await asyncio.sleep(0.05)
    assert counted() == before


def test_it_measures_the_loop_that_it_is_started_in(metrics: Home) -> None:
    """Tests, and nobody else, run several loops in one process after one another."""
    del metrics
    for _ in range(2):
        asyncio.run(_measured())
    assert loop_lag() is loop_lag()
    wait_until(lambda: counted() > 0, "something was counted")


async def _measured() -> None:
    loop_lag().start()
    await ticks(2)
    loop_lag().stop()
