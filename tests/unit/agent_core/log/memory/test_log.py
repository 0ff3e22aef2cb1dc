"""The memory log: what only it can promise. What every store must do is in tests/integration/stores."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.log.append import AppendStatus, End
from agent_core.log.budget import LogBudget
from agent_core.log.contract import Tail
from agent_core.log.encoding import NANO
from agent_core.log.errors import LogGoneError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.memory.sessions import EXCHANGE_OVERHEAD_BYTES, SESSION_OVERHEAD_BYTES
from agent_core.log.position import START, Position
from agent_core.log.records import Exchange
from tests.support.stores import FAR, OTHER, RUN, STOP, Clock, payload, payloads, record, texts


async def open_log() -> MemoryLog:
    log = MemoryLog()
    await log.create(record())
    return log


async def test_a_reader_that_was_cancelled_leaves_nothing_behind() -> None:
    """A silent run must not collect those who left."""
    log = await open_log()
    for _ in range(3):
        tail = await log.tail(RUN, START, 10, FAR)
        waiting = asyncio.create_task(tail.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await tail.aclose()
    held = log._logs[RUN]
    assert (held.waiting, held.readers) == ({}, 0)


async def test_a_reader_of_a_forgotten_run_is_told() -> None:
    """Its stream ends; what it has not read yet is gone."""
    clock = Clock()
    log = MemoryLog(LogBudget(retention_s=10), unix_nano=clock)
    await log.create(record(OTHER))
    await log.close(OTHER, 1, 1, payloads(1, 2), End(STOP))
    tail = await log.tail(OTHER, START, 1, FAR)
    assert texts((await tail.next()).events) == ["1"]
    clock.unix_nano += 10 * NANO
    assert await log.info(OTHER) is None
    with pytest.raises(LogGoneError):
        await tail.next()


async def test_what_has_expired_is_forgotten_though_nothing_is_asked() -> None:
    """An idle core keeps no answer for hours beyond its retention."""
    clock = Clock()
    log = MemoryLog(LogBudget(retention_s=10), unix_nano=clock, sweep_s=0.01)
    await log.start()
    await log.create(record())
    await log.close(RUN, 1, 1, payloads(1, 2), End(STOP))
    clock.unix_nano += 10 * NANO
    async with asyncio.timeout(10):
        while log._logs:
            await asyncio.sleep(0.01)
    await log.aclose()
    assert log._size_bytes == 0


async def test_what_was_forgotten_costs_nothing() -> None:
    """The account is exact: otherwise the store would fill up with nothing."""
    log = MemoryLog(LogBudget(run_events=16, run_bytes=5000))
    for run_id in (RUN, OTHER):
        await log.create(record(run_id, key=run_id))
        for number in range(1, 60):
            await log.append(run_id, 1, number, [payload("x" * number)])
    held = log._logs.values()
    assert log._size_bytes == sum(one.size_bytes for one in held)
    for one in held:
        assert one.event_bytes == sum(map(len, one.events)) <= 5000
    await log.delete(RUN)
    await log.delete(OTHER)
    assert (log._size_bytes, log._requests) == (0, {})


async def test_what_sessions_remember_counts_until_it_is_forgotten() -> None:
    """Exactly: with what it costs besides the text, and without a trace of what has gone."""
    clock = Clock()
    log = MemoryLog(LogBudget(retention_s=1, session_retention_s=10, session_exchanges=2), unix_nano=clock)
    for number in range(5):
        run_id = f"k7q2{number:026}"
        await log.create(record(run_id, session="s"))
        await log.close(run_id, 1, 1, payloads(1, 1), End(STOP, Exchange("?", "\U0001f44d")))
    assert log._sessions.size_bytes == SESSION_OVERHEAD_BYTES + 2 * (EXCHANGE_OVERHEAD_BYTES + 5)
    clock.unix_nano += 10 * NANO
    assert await log.info(RUN) is None
    assert (log._size_bytes, log._sessions._sessions, log._sessions._remembering) == (0, {}, {})


class Reader:
    """Reads a run to its end and keeps what it got."""

    def __init__(self, tail: Tail, after: int) -> None:
        self.tail = tail
        self.after = after
        self.sequences: list[int] = []
        self.texts: list[str] = []
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        complete = False
        while not complete:
            batch = await self.tail.next()
            self.sequences += range(batch.first, batch.first + len(batch.events))
            self.texts += texts(batch.events)
            complete = batch.complete


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 7)),
        st.tuples(st.just("retry"), st.integers(1, 7)),
        st.tuples(st.just("gap"), st.integers(1, 3)),
        st.tuples(st.just("reader"), st.integers(1, 4)),
        st.tuples(st.just("interrupt"), st.integers(0, 9)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("turns"), st.integers(1, 4)),
    ),
    max_size=40,
)


class Scenario:
    """A run, its only writer, and readers that come and go."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.written = 0
        self.readers: list[Reader] = []

    async def append(self, size: int) -> None:
        await self.log.append(RUN, 1, self.written + 1, payloads(self.written + 1, size))
        self.written += size

    async def retry(self, size: int) -> None:
        first = max(1, self.written - size)
        await self.log.append(RUN, 1, first, payloads(first, self.written + 1 - first))

    async def gap(self, size: int) -> None:
        first = self.written + 1 + size
        appended = await self.log.append(RUN, 1, first, payloads(first, 1))
        assert appended == (AppendStatus.GAP, self.written + 1)

    async def reader(self, size: int) -> None:
        after = self.written * (size % 3) // 2
        self.readers.append(Reader(await self.log.tail(RUN, Position(1, after), size, 60 * size), after))

    async def interrupt(self, size: int) -> None:
        for reader in self.readers[size : size + 1]:
            reader.tail.interrupt()

    async def leave(self, size: int) -> None:
        for reader in self.readers[size : size + 1]:
            self.readers.remove(reader)
            reader.task.cancel()
            await asyncio.wait({reader.task})

    async def turns(self, size: int) -> None:
        for _ in range(size):
            await asyncio.sleep(0)

    async def end(self) -> None:
        await self.log.close(RUN, 1, self.written + 1, payloads(self.written + 1, 1), End(STOP))
        for reader in self.readers:
            await reader.task
            expected = list(range(reader.after + 1, self.written + 2))
            assert reader.sequences == expected
            assert reader.texts == [str(number) for number in expected]


@settings(deadline=None)
@given(OPERATIONS)
def test_every_reader_gets_exactly_what_comes_after_its_cursor(operations: list[tuple[str, int]]) -> None:
    """In every interleaving of appends, retries, gaps and readers that come and go."""

    async def play() -> None:
        scenario = Scenario(await open_log())
        for name, size in operations:
            await getattr(scenario, name)(size)
        await scenario.end()

    asyncio.run(play())
