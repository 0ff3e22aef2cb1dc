"""The time of a run, which stands still while it waits for a person."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_core.runs.run_deadline import RunDeadline


class Passed:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def test_a_deadline_passes_once() -> None:
    """The sooner of both; and not at all once it is closed."""
    now = time.monotonic()
    for own_s, call_s in ((0.01, None), (60, 0.01), (-1, None)):
        passed = Passed()
        deadline = RunDeadline(now + own_s, None if call_s is None else now + call_s, passed)
        assert deadline.at() == now + (own_s if call_s is None else call_s)
        deadline.begin()
        await asyncio.sleep(0.05)
        assert passed.count == 1
    passed = Passed()
    deadline = RunDeadline(now, None, passed)
    deadline.begin()
    deadline.close()
    deadline.pause()
    deadline.resume()
    await asyncio.sleep(0.01)
    assert passed.count == 0


async def test_a_deadline_moves_by_as_long_as_it_is_paused() -> None:
    """A second pause, or resume, changes nothing."""
    passed, own = Passed(), time.monotonic() + 0.1
    deadline = RunDeadline(own, None, passed)
    deadline.begin()
    deadline.resume()
    deadline.pause()
    deadline.pause()
    await asyncio.sleep(0.2)
    assert passed.count == 0
    assert deadline.at() > time.monotonic()
    deadline.resume()
    assert deadline.at() == pytest.approx(own + 0.2, abs=0.15)
    await asyncio.sleep(0.3)
    assert passed.count == 1


async def test_the_deadline_of_the_call_is_not_paused() -> None:
    """Its caller is gone then."""
    passed, now = Passed(), time.monotonic()
    deadline = RunDeadline(now + 0.01, now + 0.03, passed)
    deadline.begin()
    deadline.pause()
    await asyncio.sleep(0.08)
    assert passed.count == 1
    assert deadline.at() == now + 0.03
    deadline.close()
