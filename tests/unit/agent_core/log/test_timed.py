"""A store that counts its times: it is the store, and counts."""

from __future__ import annotations

import inspect

import pytest

from agent_core.log.append import Append, Appended, AppendStatus, End, OnAnswer
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.log.timed import TimedLog
from agent_core.log.turns import Turns
from tests.support.stores import FAR, RUN, STOP, answers_to, payloads, record, texts
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import STORE_DURATION

pytestmark = pytest.mark.usefixtures("metrics")


def counted() -> dict[str, int]:
    """Return how often each operation was counted."""
    return {operation: sum(point.counts) for (_, operation), point in STORE_DURATION.points().items()}


class TurnsLog(MemoryLog):
    """A store that writes turn by turn.

    Args:
        away: Whether it does not answer.
    """

    def __init__(self, *, away: bool = False) -> None:
        super().__init__()
        self.turns = Turns(self._write_turn)
        self._away = away

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        self.turns.submit(append, on_answer)

    def _write_turn(self, appends: list[Append]) -> None:
        answers: list[Appended | Exception] = []
        for append in appends:
            super().submit(append, answers.append)
        self.turns.answered(LogAwayError() if self._away else answers)


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
    log = TimedLog(TurnsLog(), "sqlite")
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
    log = TimedLog(TurnsLog(away=True), "redis")
    with pytest.raises(LogAwayError):
        await log.append(RUN, 1, 1, payloads(1, 1))
    assert counted() == {"append": 1}


async def test_what_is_written_together_counts_once() -> None:
    """A thousand runs that wait for one write are no thousand writes."""
    log = TimedLog(TurnsLog(), "redis")
    runs = [f"k7q2{number:026}" for number in range(10)]
    for run_id in runs:
        await log.create(record(run_id))
    answers = await answers_to(log, [Append(run_id, 1, 1, payloads(1, 1)) for run_id in runs])
    assert set(answers) == {Appended(AppendStatus.OK)}
    assert counted()["append"] == 1
