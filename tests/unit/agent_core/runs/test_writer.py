"""The only writer of a run."""

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from agent_core.log.append import Append, Appended, AppendStatus, OnAnswer
from agent_core.log.contract import StoreTraits
from agent_core.log.errors import LogAwayError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.log.records import RunRecord
from agent_core.runs import writer as module
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.stores import FAR, RUN, STOP, WAKE_S, payload, record, texts


class SlowLog(MemoryLog):
    """A store that answers only when it is let, each time in a turn of its own."""

    def __init__(self, *, restorable: bool = False) -> None:
        super().__init__()
        self.sizes: list[int] = []
        """How many events were submitted with each append."""
        self.away = 0
        """How many appends fail."""
        self.answers: deque[Appended | Exception] = deque()
        """What is answered instead of writing anything."""
        self.restored: list[tuple[int, int]] = []
        """From which number on how many events were written again."""
        self.restoring: deque[Appended | Exception] = deque()
        """What is answered to `restore`: OK where there is nothing."""
        self._restorable = restorable
        self._let = 0
        self._submitted: deque[tuple[Append, OnAnswer]] = deque()

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(volatile=False, restorable=self._restorable)

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        self.sizes.append(len(append.payloads))
        assert not self._submitted, "a run has one append under way at a time"
        self._submitted.append((append, on_answer))
        self.let(0)

    def let(self, count: int = 1) -> None:
        """Answer so many appends more."""
        self._let += count
        if self._let and self._submitted:
            asyncio.get_running_loop().call_soon(self._answer)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        del record, epoch
        self.restored.append((first, len(payloads)))
        await asyncio.sleep(0)
        answer = self.restoring.popleft() if self.restoring else Appended(AppendStatus.OK)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self) -> None:
        if not self._let or not self._submitted:
            return
        self._let -= 1
        append, on_answer = self._submitted.popleft()
        if self.away:
            self.away -= 1
            on_answer(LogAwayError("disk full"))
        elif self.answers:
            on_answer(self.answers.popleft())
        else:
            super().submit(append, on_answer)

    def write_unseen(self, payloads: Sequence[bytes]) -> None:
        """Write events whose answer is lost."""
        super().submit(Append(RUN, 1, 1, payloads), lambda _: None)

    async def said(self) -> list[str]:
        return texts((await self.read(RUN, START, 99, FAR)).events)


@pytest.fixture
async def log() -> SlowLog:
    log = SlowLog()
    await log.create(record())
    return log


def open_the_gate(log: SlowLog) -> None:
    log.let(99)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_during_an_append_goes_together_as_the_next_one(log: SlowLog) -> None:
    """The first goes at once, alone; nobody waits for a timer."""
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
    open_the_gate(log)
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "3", "4", "end"]


async def test_a_log_that_is_away_is_waited_for(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on meanwhile, and its events come in order when the log is back. Each time it is told."""
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
    told: list[str] = []
    writer = RunWriter(
        log, record(), on_away=lambda error: told.append(str(error)), on_back=lambda: told.append("back")
    )
    log.away = 4
    open_the_gate(log)
    writer.write([payload("1")])
    writer.write([payload("2")])
    await writer.flush()
    log.away = 2
    await writer.close(payload("end"), STOP)
    assert await log.said() == ["1", "2", "end"]
    assert told == ["disk full", "back"] * 2


async def test_an_end_does_not_wait_for_ever(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that goes down could not, otherwise."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    writer = RunWriter(log, record())
    writer.write([payload("1")])
    with pytest.raises(LogRefusedError, match="away"):
        await writer.close(payload("end"), STOP)
    open_the_gate(log)
    await turns()
    assert log.sizes == [1], "what was given up is not submitted again"


async def test_a_refusal_is_told_even_where_nobody_writes(log: SlowLog) -> None:
    """An agent that waits for its model is stopped too: another core has the run."""
    told: list[str] = []
    writer = RunWriter(log, record(), on_refusal=lambda: told.append("stop"))
    log.answers.append(Appended(AppendStatus.FENCED))
    open_the_gate(log)
    writer.write([payload("1")])
    await turns(10)
    assert told == ["stop"]
    with pytest.raises(LogRefusedError, match="fenced"):
        writer.write([payload("2")])
    for refused in (writer.room(), writer.flush(), writer.check(), writer.close(payload("3"), STOP)):
        with pytest.raises(LogRefusedError, match="fenced"):
            await refused


async def test_a_log_that_refuses_is_an_error() -> None:
    """The run can't go on: nobody would ever see what it says."""
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


async def test_an_end_is_tried_at_once_where_appends_fail() -> None:
    """A store without room takes a run's end, with all that waited: it is not kept behind them."""
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


OK = Appended(AppendStatus.OK)
GONE = Appended(AppendStatus.GONE)
FENCED = Appended(AppendStatus.FENCED)


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
    open_the_gate(log)
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
    open_the_gate(log)
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
    open_the_gate(log)
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
    open_the_gate(log)
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
    open_the_gate(log)
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
    open_the_gate(log)
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
    open_the_gate(log)
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


async def test_a_check_during_an_outage_tries_at_once(log: SlowLog) -> None:
    """It is called when the log is back: what waits for its next try need not."""
    writer = RunWriter(log, record())
    log.away = 1
    log.let()
    writer.write([payload("1")])
    await turns()
    open_the_gate(log)
    async with asyncio.timeout(WAKE_S):
        await writer.check()
    assert (log.sizes, await log.said()) == ([1, 1], ["1"])


async def test_an_end_goes_at_once_after_an_append_that_failed_meanwhile(log: SlowLog) -> None:
    """A store without room takes an end alone: no wait is due before it."""
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
        open_the_gate(log)
        await asyncio.wait({closing})
    with pytest.raises(LogRefusedError, match="closed"):
        await writer.close(payload("again"), STOP)
    await closing
    assert await log.said() == ["end"]


async def test_a_bug_of_the_store_is_raised_to_who_writes_next(log: SlowLog) -> None:
    """It must not be retried for ever, nor get lost."""
    told: list[str] = []
    log.answers.append(ZeroDivisionError("bug"))
    open_the_gate(log)
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
    open_the_gate(log)
    await asyncio.sleep(0.01)
    assert (log.sizes, told) == ([1, 1], [])
    with pytest.raises(LogRefusedError, match="over"):
        await other.check()


async def test_only_the_newest_is_kept_of_what_a_log_may_lose() -> None:
    """A run may say more than there is memory for."""
    log = SlowLog(restorable=True)
    await log.create(record())
    open_the_gate(log)
    writer = RunWriter(log, record(), ring_bytes=10 * len(payload("10")))
    for number in range(10, 40):
        writer.write([payload(str(number))])
        await writer.flush()
    log.answers.append(GONE)
    await writer.check()
    ((first, count),) = log.restored
    assert first + count == 31
    assert 1 <= count <= 10
