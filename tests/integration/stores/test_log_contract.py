"""What every store of runs must do, whichever it is."""

import asyncio
from functools import partial

import pytest

from agent_core.log.append import Appended, AppendStatus, End
from agent_core.log.contract import RunLog, Tail
from agent_core.log.encoding import NANO
from agent_core.log.errors import LogGoneError
from agent_core.log.position import START, Position
from agent_core.log.records import Outcome, RunInfo
from agent_core.log.redis import connection
from tests.support.stores import (
    FAR,
    LOST,
    OTHER,
    RUN,
    STOP,
    WAKE_S,
    Clock,
    OpenLog,
    all_texts,
    known,
    payload,
    payloads,
    record,
    texts,
)
from tokenwire.telemetry import monotonic_nano
from tokenwire.v1.event_pb2 import Event

OK = Appended(AppendStatus.OK)


async def test_events_get_their_numbers_and_the_logged_stamp(log: RunLog) -> None:
    """What comes out is the whole event."""
    await log.create(record())
    before = monotonic_nano()
    assert await log.append(RUN, 1, 1, payloads(1, 2)) == OK
    batch = await log.read(RUN, START, 10, FAR)
    events = [Event.FromString(event) for event in batch.events]
    assert [(event.epoch, event.sequence, event.text_delta.content) for event in events] == [
        (1, 1, "1"),
        (1, 2, "2"),
    ]
    assert all(before <= event.timing.logged_nano <= monotonic_nano() for event in events)
    assert all(event.timing.model_nano == 1 for event in events)
    assert (batch.begin, batch.end) == ((1, 1), (1, 2))
    assert (batch.complete, batch.last) == (False, Position(1, 2))


async def test_hundreds_who_ask_at_once_are_all_answered(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an edge goes down, all of its readers come back within the same second."""
    # On a busy machine it is this process, not Redis, that needs a second until it looks at its connection.
    monkeypatch.setattr(connection, "CONNECT_S", 10.0)
    log = await open_log()
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 2))

    async def ask() -> list[str]:
        assert (await known(log)).last == Position(1, 2)
        tail = await log.tail(RUN, START, 10, FAR)
        try:
            return texts((await tail.next()).events)
        finally:
            await tail.aclose()

    assert await asyncio.gather(*(ask() for _ in range(500))) == [["1", "2"]] * 500


async def test_a_run_is_known_as_it_was_created(log: RunLog) -> None:
    """With its owner; and empty, until something is written."""
    created = record(key="alice\nr1", fingerprint=b"\0\xff")
    assert await log.create(created) is created
    assert await log.info(RUN) == RunInfo(created, Position(1, 1), START)
    assert await log.read(RUN, START, 10, FAR) == (1, [], False, START)


async def test_retrying_an_append_changes_nothing(log: RunLog) -> None:
    """Whole repetitions are passed over; of overlapping ones only the new part is written."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 3))
    for first, count in ((1, 3), (2, 1), (4, 0)):
        assert await log.append(RUN, 1, first, payloads(first, count)) == OK
    assert await log.append(RUN, 1, 2, payloads(2, 4)) == OK
    assert await all_texts(log) == ["1", "2", "3", "4", "5"]


async def test_a_gap_is_refused_and_names_what_is_missing(log: RunLog) -> None:
    """The writer appends again from there."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 2))
    assert await log.append(RUN, 1, 4, payloads(4, 1)) == (AppendStatus.GAP, 3)
    assert await all_texts(log) == ["1", "2"]


async def test_closing_is_one_with_the_last_append(log: RunLog, clock: Clock) -> None:
    """After it nothing is written, and repeating either of them changes nothing."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    for _ in range(2):
        assert await log.close(RUN, 1, 1, payloads(1, 2), End(STOP)) == OK
        clock.unix_nano += 1
    assert await log.append(RUN, 1, 2, payloads(2, 1)) == OK
    assert (await log.append(RUN, 1, 3, payloads(3, 1))).status is AppendStatus.CLOSED
    assert (await log.close(RUN, 1, 3, payloads(3, 1), End(STOP))).status is AppendStatus.CLOSED
    batch = await log.read(RUN, START, 99, FAR)
    assert (texts(batch.events), batch.complete) == (["1", "2"], True)
    end = clock.unix_nano - 2
    assert await log.info(RUN) == RunInfo(
        record(), Position(1, 1), Position(1, 2), STOP, end, end + 15 * 60 * NANO
    )


async def test_a_gap_does_not_close(log: RunLog) -> None:
    """Both or neither."""
    await log.create(record())
    assert await log.close(RUN, 1, 2, payloads(2, 1), End(STOP)) == (AppendStatus.GAP, 1)
    info = await known(log)
    assert (info.outcome, info.last) == (None, START)


async def test_reaping_fences_the_lost_writer(log: RunLog) -> None:
    """The terminal event is in the next epoch, and only the first reaper writes it."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert await log.reap(RUN, 1, payload("lost"), LOST) == OK
    assert (await log.append(RUN, 1, 2, payloads(2, 1))).status is AppendStatus.FENCED
    assert (await log.append(RUN, 1, 1, payloads(1, 1))).status is AppendStatus.FENCED
    assert (await log.close(RUN, 1, 2, payloads(2, 1), End(STOP))).status is AppendStatus.FENCED
    assert (await log.reap(RUN, 1, payload("again"), STOP)).status is AppendStatus.FENCED
    assert (await log.reap(RUN, 2, payload("again"), STOP)).status is AppendStatus.CLOSED
    assert (await log.reap(OTHER, 1, payload("x"), STOP)).status is AppendStatus.GONE
    info = await known(log)
    assert (info.last, info.outcome) == (Position(2, 2), LOST)
    assert await all_texts(log) == ["1", "lost"]


async def test_a_run_that_said_nothing_can_be_reaped(log: RunLog) -> None:
    """Its writer was lost before the first event."""
    await log.create(record())
    assert await log.reap(RUN, 1, payload("lost"), LOST) == OK
    info = await known(log)
    assert (info.first, info.last) == (Position(2, 1), Position(2, 1))


async def test_a_run_that_is_not_known_is_gone(log: RunLog) -> None:
    """Whatever is asked of it."""
    assert (await log.append(RUN, 1, 1, payloads(1, 1))).status is AppendStatus.GONE
    assert (await log.close(RUN, 1, 1, payloads(1, 1), End(STOP))).status is AppendStatus.GONE
    assert await log.info(RUN) is None
    await log.delete(RUN)
    with pytest.raises(LogGoneError):
        await log.read(RUN, START, 1, FAR)
    with pytest.raises(LogGoneError):
        await log.tail(RUN, START, 1, FAR)


async def test_batches_keep_to_their_limits_but_always_hold_one_event(log: RunLog) -> None:
    """An event that is larger than the limit must not stop the reader for ever."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 10))
    size = len((await log.read(RUN, START, 1, FAR)).events[0])
    assert texts((await log.read(RUN, START, 3, FAR)).events) == ["1", "2", "3"]
    assert texts((await log.read(RUN, Position(1, 4), 99, size * 2)).events) == ["5", "6"]
    assert texts((await log.read(RUN, Position(1, 4), 99, 1)).events) == ["5"]
    assert (await log.read(RUN, Position(1, 10), 99, FAR)).events == []
    tail = await log.tail(RUN, Position(1, 4), 99, size * 2)
    assert [texts((await tail.next()).events) for _ in range(3)] == [["5", "6"], ["7", "8"], ["9"]]
    await tail.aclose()


async def test_a_waiting_reader_wakes_for_events_for_the_end_and_for_an_interruption(log: RunLog) -> None:
    """And for nothing else; an interruption before the call counts too."""
    await log.create(record())
    tail = await log.tail(RUN, START, 10, FAR)
    async with asyncio.timeout(WAKE_S):
        waiting = asyncio.create_task(tail.next())
        await log.info(RUN)
        assert not waiting.done()
        await log.append(RUN, 1, 1, payloads(1, 1))
        assert texts((await waiting).events) == ["1"]
        waiting = asyncio.create_task(tail.next())
        await log.info(RUN)
        tail.interrupt()
        tail.interrupt()
        assert (await waiting).events == []
        tail.interrupt()
        assert (await tail.next()).events == []
        waiting = asyncio.create_task(tail.next())
        await asyncio.sleep(0)
        await log.close(RUN, 1, 2, payloads(2, 1), End(STOP))
        assert texts((await waiting).events) == ["2"]
        assert waiting.result().complete
        after_the_end = await tail.next()
        assert not after_the_end.events
        assert (after_the_end.first, after_the_end.complete, after_the_end.last) == (3, True, (1, 2))
        await tail.aclose()


async def test_a_reader_that_polls_is_told_of_events_of_the_end_and_of_an_interruption(log: RunLog) -> None:
    """In the turn in which they come; what it asks for bounds a batch."""
    await log.create(record())
    tail = await log.tail(RUN, START, 10, FAR)
    told: list[int] = []
    tail.notify(lambda: told.append(len(told)))
    assert tail.poll() == (1, [], False, START)
    await log.append(RUN, 1, 1, payloads(1, 4))
    assert told
    batch = tail.poll(2)
    assert batch is not None
    assert (batch.first, texts(batch.events), batch.complete) == (1, ["1", "2"], False)
    for number in (3, 4):
        batch = tail.poll(9, 1)
        assert batch is not None
        assert (batch.first, texts(batch.events), batch.end) == (number, [str(number)], Position(1, number))
    assert tail.poll() == (5, [], False, Position(1, 4))
    for happens in (tail.interrupt, partial(log.close, RUN, 1, 5, payloads(5, 1), End(STOP))):
        told.clear()
        happened = happens()
        if happened is not None:
            await happened
        assert told
    end = tail.poll()
    assert end is not None
    assert (texts(end.events), end.complete) == (["5"], True)
    await tail.aclose()


async def test_a_reader_that_polls_is_told_that_the_run_was_forgotten(log: RunLog) -> None:
    """And nothing more once it has asked not to be, or has gone."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    tails = [await log.tail(RUN, Position(1, 1), 10, FAR) for _ in range(3)]
    told: list[Tail] = []
    for tail in tails:
        tail.notify(partial(told.append, tail))
    tails[1].notify(None)
    await tails[2].aclose()
    await log.delete(RUN)
    async with asyncio.timeout(WAKE_S):
        while not told:
            await asyncio.sleep(0.01)
    assert set(told) == {tails[0]}
    with pytest.raises(LogGoneError):
        tails[0].poll()
    tails[1].interrupt()
    assert set(told) == {tails[0]}
    await tails[0].aclose()
    await tails[1].aclose()


async def test_an_ended_run_is_polled_where_it_is_in_memory(log: RunLog) -> None:
    """Elsewhere the reader is told to wait for the store; an interruption reaches it all the same."""
    await log.create(record())
    await log.close(RUN, 1, 1, payloads(1, 2), End(STOP))
    tail = await log.tail(RUN, START, 10, FAR)
    told: list[None] = []
    tail.notify(lambda: told.append(None))
    tail.interrupt()
    assert told
    batch = tail.poll()
    assert (batch is not None) == log.traits.volatile
    batch = batch or await tail.next()
    assert (texts(batch.events), batch.complete) == (["1", "2"], True)
    await tail.aclose()


async def test_a_reader_that_was_cancelled_can_go_on(log: RunLog) -> None:
    """Nothing that it did not return is passed over."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 3))
    tail = await log.tail(RUN, START, 1, FAR)
    got: list[str] = []
    for turns in range(4):
        reading = asyncio.create_task(tail.next())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled():
            got += texts(reading.result().events)
    while len(got) < 3:
        got += texts((await tail.next()).events)
    assert got == ["1", "2", "3"]
    await tail.aclose()


async def test_reading_an_ended_run_comes_to_its_end(log: RunLog) -> None:
    """Also from the middle, from the end, and for two at once."""
    await log.create(record())
    await log.close(RUN, 1, 1, payloads(1, 5), End(STOP))
    for after in (0, 3, 5):
        tail = await log.tail(RUN, Position(1, after), 2, FAR)
        got: list[str] = []
        batch = await tail.next()
        while got.extend(texts(batch.events)) or not batch.complete:
            batch = await tail.next()
        assert got == [str(number) for number in range(after + 1, 6)]
        await tail.aclose()


async def test_creating_a_run_again_changes_nothing(log: RunLog) -> None:
    """A creation that was cancelled half way is retried."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert await log.create(record()) == record()
    assert await all_texts(log) == ["1"]


async def test_the_same_request_key_names_the_same_run(log: RunLog) -> None:
    """As long as the run is kept."""
    first = record(RUN, "key", b"1")
    await log.create(first)
    assert await log.create(record(OTHER, "key", b"2")) == first
    assert await log.info(OTHER) is None
    await log.delete(RUN)
    again = record(OTHER, "key", b"2")
    assert await log.create(again) is again


async def test_what_stands_for_a_request_can_be_asked(open_log: OpenLog, clock: Clock) -> None:
    """What `create` would find: also of an ended run, as long as it is kept."""
    log = await open_log(retention_s=60)
    assert await log.standing("k") is None
    await log.create(record(key="k", fingerprint=b"f"))
    assert await log.standing("k") == record(key="k", fingerprint=b"f")
    assert await log.standing("other") is None
    await log.close(RUN, 1, 1, payloads(1, 1), End(STOP))
    assert await log.standing("k") == record(key="k", fingerprint=b"f")
    clock.unix_nano += 61 * 1_000_000_000
    assert await log.standing("k") is None
    await log.probe()


async def test_creations_at_once_under_one_key_make_one_run(log: RunLog) -> None:
    """Whoever comes first."""
    records = [record(f"k7q2{number:026}", "key") for number in range(5)]
    standing = await asyncio.gather(*map(log.create, records))
    assert len({stands.run_id for stands in standing}) == 1


async def test_open_runs_are_found(log: RunLog) -> None:
    """A core that starts reaps what it knows as open."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 2))
    await log.create(record(OTHER))
    await log.close(OTHER, 1, 1, payloads(1, 1), End(Outcome("error", "INTERNAL")))
    assert await log.open_runs() == [RUN]


async def test_open_runs_can_be_asked_for_by_their_core(log: RunLog) -> None:
    """So that those of a lost core are found."""
    await log.create(record(RUN, core="a"))
    await log.create(record(OTHER, core="b"))
    assert await log.open_runs("b") == [OTHER]
    assert len(await log.open_runs()) == 2
