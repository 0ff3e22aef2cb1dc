"""The only writer of a run."""

import asyncio

import pytest

from agent_core.log.append import Appended, AppendStatus
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.runs import writer as module
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.slow_log import ALL, FENCED, SlowLog, turns
from tests.support.stores import FAR, RUN, STOP, WAKE_S, payload, record


@pytest.fixture
async def log() -> SlowLog:
    log = SlowLog()
    await log.create(record())
    return log


async def test_what_comes_during_an_append_goes_together_as_the_next_one(log: SlowLog) -> None:
    """The first goes at once, alone; no timer is waited for."""
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    await turns()
    assert log.sizes == [1]
    for number in range(2, 6):
        writer.write([payload(str(number))])
    await turns()
    assert (log.sizes, await log.said()) == ([1], [])
    log.let()
    await turns()
    assert (log.sizes, await log.said()) == ([1, 4], ["1"])
    log.let()
    await writer.flush()
    assert await log.said() == ["1", "2", "3", "4", "5"]


async def test_the_end_goes_with_what_is_pending(log: SlowLog) -> None:
    """In one step, after the append that is under way."""
    writer = RunWriter(log, record())
    for number in range(1, 4):
        writer.write([payload(str(number))])
        await turns()
    closing = asyncio.create_task(writer.close(payload("end"), STOP))
    await turns()
    log.let()
    await turns()
    assert (log.sizes, await log.said()) == ([1, 3], ["1"])
    log.let()
    await closing
    assert await log.said() == ["1", "2", "3", "end"]


async def test_only_so_much_may_wait(log: SlowLog) -> None:
    """Then the agent does; and a write that was cancelled while it waited is not lost."""
    writer = RunWriter(log, record(), max_pending_bytes=2 * len(payload("1")))
    writer.write([payload("1")])
    await turns()
    writer.write([payload("2")])
    assert not writer.full
    writer.write([payload("3")])
    assert writer.full
    room = asyncio.create_task(writer.room())
    await turns()
    assert not room.done()
    log.let()
    await asyncio.wait_for(room, WAKE_S)
    assert not writer.full
    writer.write([payload("4")])
    again = asyncio.create_task(writer.room())
    await turns()
    assert not again.done()
    again.cancel()
    await asyncio.wait({again})
    log.let(ALL)
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "3", "4", "end"]


async def test_an_end_does_not_wait_for_ever(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that goes down could not, otherwise."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    with pytest.raises(LogRefusedError, match="away"):
        await writer.close(payload("end"), STOP)
    log.let(ALL)
    await turns()
    assert log.sizes == [1], "what was given up is not submitted again"


async def test_a_refusal_is_reported_even_where_nothing_is_written(log: SlowLog) -> None:
    """An agent that waits for its model is stopped too: another core has the run."""
    told: list[str] = []
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    log.answers.append(Appended(AppendStatus.FENCED))
    log.let(ALL)
    writer.write([payload("1")])
    await turns(10)
    assert told == ["stop"]
    with pytest.raises(LogRefusedError, match="fenced"):
        writer.write([payload("2")])
    for refused in (writer.room(), writer.flush(), writer.check(), writer.close(payload("3"), STOP)):
        with pytest.raises(LogRefusedError, match="fenced"):
            await refused


async def test_a_log_that_refuses_is_an_error() -> None:
    """The run can't go on: no reader would ever see what it says."""
    log = MemoryLog()
    writer = RunWriter(log, record())
    with pytest.raises(LogRefusedError):
        writer.write([payload("1")])
    with pytest.raises(LogRefusedError):
        await writer.close(payload("2"), STOP)


async def test_a_log_that_never_waits_has_each_event_at_once() -> None:
    """There is nothing to be gained by groups."""
    log = MemoryLog()
    await log.create(record())
    writer = RunWriter(log, record())
    for number in range(1, 4):
        writer.write([payload(str(number))])
        assert len((await log.read(RUN, START, 99, FAR)).events) == number
    await writer.flush()
    await writer.close(payload("4"), STOP)
    assert (await log.read(RUN, START, 99, FAR)).complete


async def test_an_end_is_tried_at_once_where_appends_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without room takes a run's end, with all that waited: it is not kept behind them."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 10 * WAKE_S)
    monkeypatch.setattr(module, "RETRY_MOST_S", 10 * WAKE_S)
    log = SlowLog()
    await log.create(record())
    writer = RunWriter(log, record())
    log.away = 1
    log.let()
    writer.write([payload("a")])
    while log.away:
        await asyncio.sleep(0)
    writer.write([payload("b")])
    log.let()
    async with asyncio.timeout(WAKE_S):
        await writer.close(payload("end"), STOP)
    assert log.sizes == [1, 3]
    assert await log.said() == ["a", "b", "end"]


async def test_an_end_goes_at_once_after_an_append_that_failed_meanwhile(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store without room takes an end alone: no wait is due before it."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 10 * WAKE_S)
    monkeypatch.setattr(module, "RETRY_MOST_S", 10 * WAKE_S)
    writer = RunWriter(log, record())
    log.away = 1
    writer.write([payload("1")])
    closing = asyncio.create_task(writer.close(payload("end"), STOP))
    await turns()
    assert log.sizes == [1]
    log.let(2)
    await asyncio.wait_for(closing, WAKE_S)
    assert (log.sizes, await log.said()) == ([1, 2], ["1", "end"])


async def test_nothing_is_written_after_the_end(log: SlowLog) -> None:
    """The terminal event is the last one: an agent that does not stop is refused."""
    writer = RunWriter(log, record())
    closing = asyncio.create_task(writer.close(payload("end"), STOP))
    await turns()
    for _ in range(2):
        with pytest.raises(LogRefusedError, match="closed"):
            writer.write([payload("late")])
        log.let(ALL)
        await asyncio.wait({closing})
    with pytest.raises(LogRefusedError, match="closed"):
        await writer.close(payload("again"), STOP)
    await closing
    assert await log.said() == ["end"]


async def test_a_bug_of_the_store_is_raised_to_who_writes_next(log: SlowLog) -> None:
    """It must not be retried for ever, nor get lost."""
    told: list[str] = []
    log.answers.append(ZeroDivisionError("bug"))
    log.let(ALL)
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    writer.write([payload("1")])
    await turns()
    with pytest.raises(ZeroDivisionError):
        writer.write([payload("2")])
    assert told == ["stop"]


async def test_a_run_that_is_over_is_left_alone(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timer goes on, nothing is called, and what is answered late changes nothing."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    told: list[str] = []
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    log.away = 1
    log.let()
    writer.write([payload("1")])
    await turns()
    writer.detach()
    other = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    other.write([payload("1")])
    await turns()
    other.detach()
    log.answers.append(FENCED)
    log.let(ALL)
    await asyncio.sleep(0.01)
    assert (log.sizes, told) == ([1, 1], [])
    with pytest.raises(LogRefusedError, match="over"):
        await other.check()


async def test_a_refusal_within_a_write_is_raised_before_it_is_reported() -> None:
    """An agent that is stopped in its own call would cancel itself there."""
    told: list[str] = []
    writer = RunWriter(MemoryLog(), record(), on_refusal=lambda: told.append("stop"))
    with pytest.raises(LogRefusedError, match="gone"):
        writer.write([payload("1")])
    assert told == []
    await turns(1)
    assert told == ["stop"]
