"""The only writer of a run."""

import asyncio
from collections.abc import Sequence

import pytest

from agent_core.log.contract import START, Appended, AppendStatus, Exchange, LogAwayError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.outcome import Outcome
from agent_core.runs import writer as module
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.stores import FAR, RUN, STOP, WAKE_S, payload, record, texts


class SlowLog(MemoryLog):
    """A store that answers only when it is let: one append or close at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        """How many events came with each append and close, from its start on."""
        self.let = asyncio.Semaphore(0)
        self.away = 0
        """How many appends fail."""
        self.refuse = False

    @property
    def waits(self) -> bool:
        return True

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        await self._turn(payloads)
        appended = await super().append(run_id, epoch, first, payloads)
        await asyncio.sleep(0)
        return Appended(AppendStatus.FENCED) if self.refuse else appended

    async def close(
        self,
        run_id: str,
        epoch: int,
        first: int,
        payloads: Sequence[bytes],
        outcome: Outcome,
        exchange: Exchange | None = None,
    ) -> Appended:
        await self._turn(payloads)
        appended = await super().close(run_id, epoch, first, payloads, outcome, exchange)
        await asyncio.sleep(0)
        return appended

    async def _turn(self, payloads: Sequence[bytes]) -> None:
        self.sizes.append(len(payloads))
        await self.let.acquire()
        if self.away:
            self.away -= 1
            raise LogAwayError("disk full")

    async def said(self) -> list[str]:
        return texts((await self.read(RUN, START, 99, FAR)).events)


@pytest.fixture
async def log() -> SlowLog:
    log = SlowLog()
    await log.create(record())
    return log


def open_the_gate(log: SlowLog) -> None:
    for _ in range(99):
        log.let.release()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_during_an_append_goes_together_as_the_next_one(log: SlowLog) -> None:
    """The first goes at once, alone; nobody waits for a timer."""
    writer = RunWriter(log, record())
    await writer.write([payload("1")])
    await turns()
    assert log.sizes == [1]
    for number in range(2, 6):
        await writer.write([payload(str(number))])
    await turns()
    assert (log.sizes, await log.said()) == ([1], [])
    log.let.release()
    await turns()
    assert (log.sizes, await log.said()) == ([1, 4], ["1"])
    log.let.release()
    await writer.flush()
    assert await log.said() == ["1", "2", "3", "4", "5"]


async def test_the_end_goes_with_what_is_pending(log: SlowLog) -> None:
    """In one step, after the append that is under way."""
    writer = RunWriter(log, record())
    for number in range(1, 4):
        await writer.write([payload(str(number))])
        await turns()
    closing = asyncio.create_task(writer.close(payload("end"), STOP))
    await turns()
    log.let.release()
    await turns()
    assert (log.sizes, await log.said()) == ([1, 3], ["1"])
    log.let.release()
    await closing
    assert await log.said() == ["1", "2", "3", "end"]


async def test_only_so_much_may_wait(log: SlowLog) -> None:
    """Then the agent does; and a write that was cancelled while it waited is not lost."""
    writer = RunWriter(log, record(), max_pending_bytes=2 * len(payload("1")))
    await writer.write([payload("1")])
    await turns()
    await writer.write([payload("2")])
    third = asyncio.create_task(writer.write([payload("3")]))
    await turns()
    assert not third.done()
    log.let.release()
    await asyncio.wait_for(third, WAKE_S)
    fourth = asyncio.create_task(writer.write([payload("4")]))
    await turns()
    assert not fourth.done()
    fourth.cancel()
    await asyncio.wait({fourth})
    open_the_gate(log)
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "3", "4", "end"]


@pytest.mark.parametrize("before", range(6))
async def test_a_cancelled_write_leaves_no_hole(log: SlowLog, before: int) -> None:
    """Wherever the cancellation meets it: no event is lost, and none is written twice."""
    open_the_gate(log)
    writer = RunWriter(log, record(), max_pending_bytes=1)
    await writer.write([payload("1")])
    write = asyncio.create_task(writer.write([payload("2"), payload("3")]))
    await turns(before)
    write.cancel()
    await asyncio.wait({write})
    await writer.close(payload("end"), STOP)
    # Cancelled before its first step, the write was never begun.
    assert await log.said() == (["1", "2", "3", "end"] if before else ["1", "end"])


async def test_writes_at_once_keep_their_order(log: SlowLog) -> None:
    """The supervisor's terminal event may meet the pump's last write."""
    open_the_gate(log)
    writer = RunWriter(log, record())
    await asyncio.gather(
        writer.write([payload("1")]),
        writer.write([payload("2")]),
        writer.write([payload("3")]),
        writer.close(payload("4"), STOP),
    )
    assert await log.said() == ["1", "2", "3", "4"]


async def test_a_log_that_is_away_is_waited_for(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on meanwhile, and its events come in order when the log is back. Each time it is told."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    told: list[str] = []
    writer = RunWriter(
        log, record(), on_away=lambda error: told.append(str(error)), on_back=lambda: told.append("back")
    )
    log.away = 4
    open_the_gate(log)
    await writer.write([payload("1")])
    await writer.write([payload("2")])
    await writer.flush()
    log.away = 2
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "end"]
    assert told == ["disk full", "back"] * 2


async def test_an_end_does_not_wait_for_ever(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that goes down could not, otherwise."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    writer = RunWriter(log, record())
    await writer.write([payload("1")])
    with pytest.raises(LogRefusedError, match="away"):
        await writer.close(payload("end"), STOP)
    await turns()
    assert writer._committing is None


async def test_a_refusal_is_told_even_where_nobody_writes(log: SlowLog) -> None:
    """An agent that waits for its model is stopped too: another core has the run."""
    told: list[str] = []
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    log.refuse = True
    open_the_gate(log)
    await writer.write([payload("1")])
    await turns(10)
    assert told == ["stop"]
    for refused in (writer.write([payload("2")]), writer.flush(), writer.close(payload("3"), STOP)):
        with pytest.raises(LogRefusedError, match="fenced"):
            await refused


async def test_a_log_that_refuses_is_an_error() -> None:
    """The run can't go on: nobody would ever see what it says."""
    log = MemoryLog()
    writer = RunWriter(log, record())
    with pytest.raises(LogRefusedError):
        await writer.write([payload("1")])
    with pytest.raises(LogRefusedError):
        await writer.close(payload("2"), STOP)


async def test_a_log_that_never_waits_has_each_event_at_once() -> None:
    """There is nothing to be gained by groups."""
    log = MemoryLog()
    await log.create(record())
    writer = RunWriter(log, record())
    for number in range(1, 4):
        await writer.write([payload(str(number))])
        assert len((await log.read(RUN, START, 99, FAR)).events) == number
    await writer.flush()
    await writer.close(payload("4"), STOP)
    assert (await log.read(RUN, START, 99, FAR)).complete


async def test_an_end_is_tried_at_once_where_appends_fail() -> None:
    """A store without room takes a run's end, with all that waited: it is not kept behind them."""
    log = SlowLog()
    await log.create(record())
    writer = RunWriter(log, record())
    log.away = 1
    log.let.release()
    await writer.write([payload("a")])
    while log.away:
        await asyncio.sleep(0)
    await writer.write([payload("b")])
    log.let.release()
    async with asyncio.timeout(WAKE_S):
        await writer.close(payload("end"), STOP)
    assert log.sizes == [1, 3]
    assert await log.said() == ["a", "b", "end"]
