"""The memory log against the contract that every store keeps."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.runs.encoding import NANO, encode_payload, new_event
from agent_core.runs.log.contract import (
    START,
    AppendStatus,
    Entry,
    LogFullError,
    LogGoneError,
    Position,
    RunRecord,
    Tail,
)
from agent_core.runs.log.memory import MemoryLog
from agent_core.runs.outcome import Outcome
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_GRACE

RUN = "k7q2" + "a" * 26
OTHER = "k7q2" + "b" * 26
STOP = Outcome("done", "stop")
FAR = 1_000_000_000


def record(run_id: str = RUN, key: str = "", fingerprint: bytes = b"") -> RunRecord:
    return RunRecord(run_id, "s1", "agent", ON_DISCONNECT_GRACE, 1, request_key=key, fingerprint=fingerprint)


def payload(text: str) -> bytes:
    event = new_event(1)
    event.text_delta.content = text
    return encode_payload(event, 1)


def payloads(first: int, count: int) -> list[bytes]:
    return [payload(str(number)) for number in range(first, first + count)]


def texts(entries: Sequence[Entry]) -> list[str]:
    return [Event.FromString(entry.event).text_delta.content for entry in entries]


async def open_log(**given: object) -> MemoryLog:
    log = MemoryLog(**given)
    await log.create(record())
    return log


async def test_events_get_their_numbers_and_the_logged_stamp() -> None:
    """What comes out is the whole event."""
    log = await open_log(stamp=lambda: 77)
    assert (await log.append(RUN, 1, 1, payloads(1, 2))).status is AppendStatus.OK
    batch = await log.read(RUN, START, 10, FAR)
    events = [Event.FromString(entry.event) for entry in batch.entries]
    assert [(event.epoch, event.sequence, event.timing.logged_nano) for event in events] == [
        (1, 1, 77),
        (1, 2, 77),
    ]
    assert [(entry.epoch, entry.sequence) for entry in batch.entries] == [(1, 1), (1, 2)]
    assert not batch.complete
    assert log.volatile


async def test_retrying_an_append_changes_nothing() -> None:
    """Whole repetitions are passed over; of overlapping ones only the new part is written."""
    log = await open_log()
    await log.append(RUN, 1, 1, payloads(1, 3))
    for first, count in ((1, 3), (2, 1), (4, 0)):
        assert (await log.append(RUN, 1, first, payloads(first, count))).status is AppendStatus.OK
    assert (await log.append(RUN, 1, 2, payloads(2, 4))).status is AppendStatus.OK
    assert texts((await log.read(RUN, START, 99, FAR)).entries) == ["1", "2", "3", "4", "5"]


async def test_a_gap_is_refused_and_names_what_is_missing() -> None:
    """The writer appends again from there."""
    log = await open_log()
    await log.append(RUN, 1, 1, payloads(1, 2))
    assert await log.append(RUN, 1, 4, payloads(4, 1)) == (AppendStatus.GAP, 3)
    assert texts((await log.read(RUN, START, 99, FAR)).entries) == ["1", "2"]


async def test_closing_is_one_with_the_last_append() -> None:
    """After it nothing is written, and repeating either of them changes nothing."""
    log = await open_log()
    await log.append(RUN, 1, 1, payloads(1, 1))
    for _ in range(2):
        assert (await log.close(RUN, 1, 1, payloads(1, 2), STOP)).status is AppendStatus.OK
    assert (await log.append(RUN, 1, 2, payloads(2, 1))).status is AppendStatus.OK
    assert (await log.append(RUN, 1, 3, payloads(3, 1))).status is AppendStatus.CLOSED
    assert (await log.close(RUN, 1, 3, payloads(3, 1), STOP)).status is AppendStatus.CLOSED
    batch = await log.read(RUN, START, 99, FAR)
    assert (texts(batch.entries), batch.complete) == (["1", "2"], True)
    info = await log.info(RUN)
    assert info is not None
    assert (info.outcome, info.first, info.last) == (STOP, Position(1, 1), Position(1, 2))
    assert info.expire_unix_nano == info.end_unix_nano + 15 * 60 * NANO


async def test_a_gap_does_not_close() -> None:
    """Both or neither."""
    log = await open_log()
    assert (await log.close(RUN, 1, 2, payloads(2, 1), STOP)).status is AppendStatus.GAP
    info = await log.info(RUN)
    assert info is not None
    assert (info.outcome, info.last) == (None, START)


async def test_reaping_fences_the_lost_writer() -> None:
    """The terminal event is in the next epoch, and only the first reaper writes it."""
    log = await open_log()
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert (
        await log.reap(RUN, 1, payload("lost"), Outcome("error", "UNAVAILABLE"))
    ).status is AppendStatus.OK
    assert (await log.append(RUN, 1, 2, payloads(2, 1))).status is AppendStatus.FENCED
    assert (await log.close(RUN, 1, 2, payloads(2, 1), STOP)).status is AppendStatus.FENCED
    assert (await log.reap(RUN, 1, payload("again"), STOP)).status is AppendStatus.FENCED
    assert (await log.reap(RUN, 2, payload("again"), STOP)).status is AppendStatus.CLOSED
    assert (await log.reap(OTHER, 1, payload("x"), STOP)).status is AppendStatus.GONE
    info = await log.info(RUN)
    assert info is not None
    assert (info.last, info.outcome) == (Position(2, 2), Outcome("error", "UNAVAILABLE"))


async def test_a_run_that_is_not_known_is_gone() -> None:
    """Whatever is asked of it."""
    log = MemoryLog()
    assert (await log.append(RUN, 1, 1, payloads(1, 1))).status is AppendStatus.GONE
    assert (await log.close(RUN, 1, 1, payloads(1, 1), STOP)).status is AppendStatus.GONE
    assert await log.info(RUN) is None
    await log.delete(RUN)
    with pytest.raises(LogGoneError):
        await log.read(RUN, START, 1, FAR)
    with pytest.raises(LogGoneError):
        await log.tail(RUN, START, 1, FAR)


async def test_batches_keep_to_their_limits_but_always_hold_one_event() -> None:
    """An event that is larger than the limit must not stop the reader for ever."""
    log = await open_log()
    await log.append(RUN, 1, 1, payloads(1, 10))
    size = len((await log.read(RUN, START, 1, FAR)).entries[0].event)
    assert texts((await log.read(RUN, START, 3, FAR)).entries) == ["1", "2", "3"]
    assert texts((await log.read(RUN, Position(1, 4), 99, size * 2)).entries) == ["5", "6"]
    assert texts((await log.read(RUN, Position(1, 4), 99, 1)).entries) == ["5"]
    assert (await log.read(RUN, Position(1, 10), 99, FAR)).entries == []


async def test_a_waiting_reader_wakes_for_events_for_the_end_and_for_an_interruption() -> None:
    """And for nothing else; an interruption before the call counts too."""
    log = await open_log()
    tail = await log.tail(RUN, START, 10, FAR)
    waiting = asyncio.create_task(tail.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert texts((await waiting).entries) == ["1"]
    waiting = asyncio.create_task(tail.next())
    await asyncio.sleep(0)
    tail.interrupt()
    tail.interrupt()
    assert await waiting == ([], False)
    tail.interrupt()
    assert await tail.next() == ([], False)
    waiting = asyncio.create_task(tail.next())
    await asyncio.sleep(0)
    await log.close(RUN, 1, 2, payloads(2, 1), STOP)
    batch = await waiting
    assert (texts(batch.entries), batch.complete) == (["2"], True)
    assert await tail.next() == ([], True)
    await tail.aclose()


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


async def test_the_same_request_key_names_the_same_run() -> None:
    """As long as the run is kept."""
    log = MemoryLog()
    first = await log.create(record(RUN, "key", b"1"))
    assert await log.create(record(OTHER, "key", b"2")) is first
    assert await log.info(OTHER) is None
    await log.delete(RUN)
    again = record(OTHER, "key", b"2")
    assert await log.create(again) is again


async def test_ended_runs_are_forgotten_after_their_time() -> None:
    """Live ones never are, and readers are told."""
    now = [0]
    log = await open_log(retention_s=10, unix_nano=lambda: now[0])
    await log.create(record(OTHER))
    await log.append(OTHER, 1, 1, payloads(1, 1))
    await log.close(OTHER, 1, 2, payloads(2, 1), STOP)
    tail = await log.tail(OTHER, START, 1, FAR)
    assert texts((await tail.next()).entries) == ["1"]
    now[0] = 10 * NANO
    assert await log.info(OTHER) is None
    assert await log.info(RUN) is not None
    with pytest.raises(LogGoneError):
        await tail.next()


async def test_without_room_ended_runs_go_early_and_live_ones_stay() -> None:
    """One that is still read stays too; when all that is left must stay, no run is created."""
    log = await open_log(max_bytes=10_000)
    for number in range(3):
        run_id = f"{number}" * 30
        await log.create(record(run_id))
        await log.close(run_id, 1, 1, [payload("x" * 4000)], STOP)
        if number == 1:
            reader = await log.tail(run_id, START, 1, FAR)
    await log.create(record(OTHER))
    assert await log.info("0" * 30) is None
    assert await log.info("1" * 30) is not None
    assert await log.info("2" * 30) is None
    await log.append(RUN, 1, 1, [payload("x" * 10_000)])
    with pytest.raises(LogFullError):
        await log.create(record("3" * 30))
    await reader.aclose()
    await log.append(RUN, 1, 2, [payload("x")])
    with pytest.raises(LogFullError):
        await log.create(record("3" * 30))
    assert await log.info("1" * 30) is None
    assert await log.info(RUN) is not None


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
            self.sequences += [entry.sequence for entry in batch.entries]
            self.texts += texts(batch.entries)
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
        await self.log.close(RUN, 1, self.written + 1, payloads(self.written + 1, 1), STOP)
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
