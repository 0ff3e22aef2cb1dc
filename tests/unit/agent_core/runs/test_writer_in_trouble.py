"""The only writer of a run before a log that is away, or has lost what it accepted."""

import asyncio

import pytest

from agent_core.log.append import Appended, AppendStatus
from agent_core.log.errors import LogAwayError
from agent_core.runs import writer as module
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.slow_log import ALL, FENCED, GONE, SlowLog, turns
from tests.support.stores import STOP, WAKE_S, payload, record


@pytest.fixture
async def log() -> SlowLog:
    log = SlowLog()
    await log.create(record())
    return log


async def test_a_log_that_is_away_is_waited_for(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on, and its events follow in order. Each outage is reported once, and so is its end."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    told: list[str] = []
    writer = RunWriter(
        log, record(), on_away=lambda error: told.append(str(error)), on_back=lambda: told.append("back")
    )
    log.away = 4
    log.let(ALL)
    writer.write([payload("1")])
    writer.write([payload("2")])
    await writer.flush()
    log.away = 2
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "end"]
    assert told == ["disk full", "back"] * 2


async def test_an_append_whose_answer_was_lost_is_submitted_again(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written: under the same numbers it changes nothing, and what came since follows it."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    writer = RunWriter(log, record())
    log.write_unseen([payload("1")])
    log.away = 1
    writer.write([payload("1")])
    await turns()
    log.let()
    await turns()
    writer.write([payload("2")])
    log.let(ALL)
    await writer.flush()
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "end"]


@pytest.mark.parametrize(
    ("lost", "restored"), [(GONE, [(1, 2)]), (Appended(AppendStatus.GAP, 2), [(2, 1)])], ids=["gone", "gap"]
)
async def test_what_a_log_has_lost_is_written_again(lost: Appended, restored: list[tuple[int, int]]) -> None:
    """From what is kept, as far as it is needed; then the append that met the loss follows."""
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(log, record())
    writer.write([payload("1"), payload("2")])
    await writer.flush()
    log.answers.append(lost)
    writer.write([payload("3")])
    await writer.flush()
    assert (log.restored, log.sizes) == (restored, [2, 1, 1])
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "3", "end"]


async def test_a_log_that_loses_what_was_restored_is_asked_again_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at once, without end: that would keep the core from everything else."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    told: list[str] = []
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(
        log, record(), on_away=lambda error: told.append(str(error)), on_back=lambda: told.append("back")
    )
    log.answers.extend([GONE] * 3)
    writer.write([payload("1")])
    await writer.flush()
    assert told == ["it loses what it accepts: gone", "back"]
    assert (len(log.restored), await log.said()) == (2, ["1"])


async def test_a_repair_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that comes back empty may go away at once again."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(log, record())
    log.answers.extend([GONE, GONE])
    log.restoring.append(LogAwayError("no memory"))
    writer.write([payload("1")])
    await writer.flush()
    assert (len(log.restored), await log.said()) == (2, ["1"])


async def test_a_repair_that_is_refused_ends_the_run() -> None:
    """Another core has closed it in the meantime."""
    told: list[str] = []
    log = SlowLog(restorable=True)
    log.let(ALL)
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    log.answers.append(GONE)
    log.restoring.append(FENCED)
    writer.write([payload("1")])
    with pytest.raises(LogRefusedError, match="fenced"):
        await writer.flush()
    await turns()
    assert told == ["stop"]


async def test_a_check_asks_the_log(log: SlowLog) -> None:
    """With an append of nothing where the writer is idle: what is lost shows, and so does an absence."""
    log.let(ALL)
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    await writer.flush()
    await writer.check()
    assert log.sizes == [1, 0]
    log.away = 1
    with pytest.raises(LogAwayError, match="disk full"):
        await writer.check()
    writer.write([payload("2")])
    await writer.flush()
    assert log.sizes == [1, 0, 0, 1], "what was only asked is not asked again"
    log.answers.append(Appended(AppendStatus.CLOSED))
    with pytest.raises(LogRefusedError, match="closed"):
        await writer.check()


async def test_a_check_of_a_lost_run_writes_it_again() -> None:
    """Also where its agent says nothing for a while: its readers wait for what they lack."""
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    await writer.flush()
    log.answers.append(GONE)
    await writer.check()
    assert (log.restored, log.sizes) == ([(1, 1)], [1, 0, 0])


async def test_a_check_during_an_append_asks_after_it(log: SlowLog) -> None:
    """The append may have been answered before there was a reason to ask."""
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    await turns()
    checking = asyncio.create_task(writer.check())
    await turns()
    log.let()
    await turns()
    assert (log.sizes, checking.done()) == ([1, 0], False)
    log.let()
    await asyncio.wait_for(checking, WAKE_S)


async def test_a_check_during_an_outage_tries_at_once(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called when the log is back: what waits for its next try need not."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 10 * WAKE_S)
    monkeypatch.setattr(module, "RETRY_MOST_S", 10 * WAKE_S)
    writer = RunWriter(log, record())
    log.away = 1
    log.let()
    writer.write([payload("1")])
    await turns()
    log.let(ALL)
    async with asyncio.timeout(WAKE_S):
        await writer.check()
    assert (log.sizes, await log.said()) == ([1, 1], ["1"])


async def test_only_the_newest_is_kept_of_what_a_log_may_lose() -> None:
    """A run may say more than there is memory for."""
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(log, record(), ring_bytes=10 * len(payload("10")))
    for number in range(10, 40):
        writer.write([payload(str(number))])
        await writer.flush()
    log.answers.append(GONE)
    await writer.check()
    ((first, count),) = log.restored
    assert first + count == 31
    assert 1 <= count <= 10


async def test_a_repair_of_a_run_that_is_over_is_given_up() -> None:
    """What comes of it must not be followed by an append."""
    log = SlowLog(restorable=True)
    await log.create(record())
    log.let(ALL)
    writer = RunWriter(log, record())
    log.answers.append(GONE)
    writer.write([payload("1")])
    while not log.restored:
        await turns(1)
    writer.detach()
    await turns()
    assert (log.sizes, await log.said()) == ([1], [])
