"""A store that counts its times: it is the store, and counts."""

from __future__ import annotations

import inspect

import pytest

from agent_core.log.append import Append, AppendStatus, End, OnAnswer
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.log.timed import TimedLog
from tests.support.stores import FAR, RUN, STOP, payloads, record, texts
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import STORE_DURATION

pytestmark = pytest.mark.usefixtures("metrics")


def counted() -> dict[str, int]:
    """Return how often each operation was counted."""
    return {operation: sum(point.counts) for (_, operation), point in STORE_DURATION.points().items()}


class Away(MemoryLog):
    """Does not answer."""

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        del append
        on_answer(LogAwayError())


def test_it_passes_on_all_that_a_store_can_do() -> None:
    """A new method of the contract fails here until it is passed on, with the same parameters."""
    for name, member in inspect.getmembers(RunLog):
        if name.startswith("_"):
            continue
        own = getattr(TimedLog, name)
        assert isinstance(own, property) == isinstance(member, property), name
        if not isinstance(member, property):
            assert inspect.signature(own).parameters.keys() == inspect.signature(member).parameters.keys()


async def test_what_the_store_answers_is_answered() -> None:
    """A run from its creation to its end, and what is asked of it."""
    log = TimedLog(MemoryLog(), "sqlite")
    assert await log.create(record()) == record()
    assert (await log.append(RUN, 1, 1, payloads(1, 2))).status is AppendStatus.OK
    assert (await log.close(RUN, 1, 3, payloads(3, 1), End(STOP))).status is AppendStatus.OK
    assert texts((await log.read(RUN, START, 10, FAR)).events) == ["1", "2", "3"]
    info = await log.info(RUN)
    assert info is not None
    assert info.last.sequence == 3
    await log.delete(RUN)
    assert await log.info(RUN) is None
    assert counted() == {"create": 1, "append": 2, "read": 1, "info": 2, "delete": 1}


async def test_a_failure_counts_too(metrics: Home) -> None:
    """A store that is away is slow: it must not look fast."""
    del metrics
    log = TimedLog(Away(), "redis")
    with pytest.raises(LogAwayError):
        await log.append(RUN, 1, 1, payloads(1, 1))
    assert counted() == {"append": 1}
