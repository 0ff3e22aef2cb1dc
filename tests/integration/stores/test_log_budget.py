"""How much every store of runs keeps, how long, and what readers of what has gone are told."""

import asyncio

import pytest

from agent_core.log.append import Appended, AppendStatus, End
from agent_core.log.contract import RunLog
from agent_core.log.encoding import NANO
from agent_core.log.errors import LogFullError, LogGoneError
from agent_core.log.position import START, Position
from agent_core.runs.follower import Resync
from tests.support.stores import (
    COUNTING,
    FAR,
    OTHER,
    RUN,
    STOP,
    WAKE_S,
    Clock,
    OpenLog,
    follow,
    known,
    payload,
    payloads,
    record,
    texts,
)

OK = Appended(AppendStatus.OK)


async def test_ended_runs_are_forgotten_after_their_time(open_log: OpenLog, clock: Clock) -> None:
    """Live ones never are."""
    log = await open_log(retention_s=10)
    await log.create(record())
    await log.create(record(OTHER, "key"))
    await log.close(OTHER, 1, 1, payloads(1, 1), End(STOP))
    clock.unix_nano += 10 * NANO - 1
    assert await log.info(OTHER) is not None
    clock.unix_nano += 1
    assert await log.info(OTHER) is None
    with pytest.raises(LogGoneError):
        await log.read(OTHER, START, 1, FAR)
    with pytest.raises(LogGoneError):
        await log.tail(OTHER, START, 1, FAR)
    assert await log.info(RUN) is not None
    again = record("k7q2" + "c" * 26, "key")
    assert await log.create(again) is again


async def test_a_reader_of_a_run_that_is_deleted_is_told(log: RunLog) -> None:
    """One that waits, one that does not, of a live run and of an ended one."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 3))
    await log.create(record(OTHER))
    await log.close(OTHER, 1, 1, payloads(1, 3), End(STOP))
    waiting = await log.tail(RUN, Position(1, 3), 1, FAR)
    tails = [await log.tail(RUN, START, 1, FAR), await log.tail(OTHER, START, 1, FAR)]
    for tail in tails:
        assert texts((await tail.next()).events) == ["1"]
    wait = asyncio.create_task(waiting.next())
    await asyncio.sleep(0)
    await log.delete(RUN)
    await log.delete(OTHER)
    with pytest.raises(LogGoneError):
        await asyncio.wait_for(wait, WAKE_S)
    for tail in tails:
        with pytest.raises(LogGoneError):
            await tail.next()
        await tail.aclose()
    await waiting.aclose()
    assert (await log.append(RUN, 1, 4, payloads(4, 1))).status is AppendStatus.GONE


async def test_beyond_its_events_a_run_loses_the_oldest(open_log: OpenLog) -> None:
    """`first` says what is left, and a sixteenth goes at once."""
    log = await open_log(run_events=32)
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 32))
    assert (await known(log)).first == Position(1, 1)
    await log.append(RUN, 1, 33, payloads(33, 1))
    info = await known(log)
    assert (info.first, info.last) == (Position(1, 4), Position(1, 33))
    batch = await log.read(RUN, START, 2, FAR)
    assert texts(batch.events) == ["4", "5"]
    assert await log.append(RUN, 1, 1, payloads(1, 33)) == OK
    assert await log.append(RUN, 1, 35, payloads(35, 1)) == (AppendStatus.GAP, 34)
    await log.append(RUN, 1, 34, payloads(34, 500))
    await log.close(RUN, 1, 534, payloads(534, 1), End(STOP))
    info = await known(log)
    assert 30 <= info.last.sequence - info.first.sequence + 1 <= 32
    assert info.last == Position(1, 534)


async def test_beyond_its_bytes_a_run_loses_the_oldest(open_log: OpenLog) -> None:
    """The newest event stays even where it is too large alone: it may be the terminal one."""
    log = await open_log(run_bytes=10_000)
    await log.create(record())
    for number in range(1, 12):
        await log.append(RUN, 1, number, [payload("x" * 950)])
    info = await known(log)
    assert (info.first, info.last) == (Position(1, 3), Position(1, 11))
    await log.close(RUN, 1, 12, [payload("y" * 20_000)], End(STOP))
    info = await known(log)
    assert (info.first, info.last) == (Position(1, 12), Position(1, 12))
    batch = await log.read(RUN, START, 10, FAR)
    assert (texts(batch.events), batch.complete) == (["y" * 20_000], True)


async def test_a_live_follower_whose_place_was_trimmed_is_told_and_goes_on(open_log: OpenLog) -> None:
    """Not only one that comes back too late."""
    log = await open_log(run_events=16)
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 4))
    follower = await follow(log, RUN, START)
    given = [await follower.next(), await follower.next()]
    assert [type(one).__name__ for one in given] == ["Batch", "CaughtUp"]
    for number in range(5, 40):
        await log.append(RUN, 1, number, payloads(number, 1))
    await log.close(RUN, 1, 40, payloads(40, 1), End(STOP))
    first = (await known(log)).first
    assert await follower.next() == Resync(first, Position(1, 40), "trimmed")
    assert not follower.finished
    batch = await follower.next()
    assert batch is not None
    assert texts(batch.events) == [str(number) for number in range(first.sequence, 41)]
    assert await follower.next() is None
    await follower.aclose()


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_without_room_ended_runs_go_early_and_live_ones_stay(open_log: OpenLog) -> None:
    """Oldest first, but not one that is still read; when the rest must stay, no run is created."""
    log = await open_log(run_bytes=60_000, total_bytes=200_000)
    ids = [f"k7q2{number:026}" for number in range(4)]
    for number, run_id in enumerate(ids[:3]):
        await log.create(record(run_id))
        await log.close(run_id, 1, 1, [payload("x" * 47_000)], End(STOP))
        if number == 0:
            reader = await log.tail(run_id, START, 1, FAR)
    await log.create(record(RUN))
    assert [await log.info(run_id) is not None for run_id in ids[:3]] == [True, False, True]
    await log.append(RUN, 1, 1, [payload("x" * 50_000)])
    await log.create(record(OTHER))
    assert [await log.info(run_id) is not None for run_id in ids[:3]] == [True, False, False]
    await log.append(OTHER, 1, 1, [payload("x" * 50_000)])
    with pytest.raises(LogFullError):
        await log.create(record(ids[3]))
    await reader.aclose()
    await log.create(record(ids[3]))
    assert await log.info(ids[0]) is None
    assert (await known(log)).last == (await known(log, OTHER)).last == Position(1, 1)


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_live_runs_beyond_the_room_of_all_lose_their_oldest_events(open_log: OpenLog) -> None:
    """The largest first; nothing is lost in silence, and nobody waits."""
    log = await open_log(run_bytes=60_000, total_bytes=100_000)
    await log.create(record(RUN))
    await log.create(record(OTHER))
    for number in range(1, 60):
        await log.append(RUN, 1, number, [payload("x" * 950)])
    for number in range(1, 50):
        await log.append(OTHER, 1, number, [payload("x" * 950)])
    large, small = await known(log), await known(log, OTHER)
    assert large.first.sequence > 10
    assert (large.last.sequence, small.last.sequence) == (59, 49)
    held = (large.last.sequence - large.first.sequence) + (small.last.sequence - small.first.sequence)
    assert held * 1000 < 100_000
    assert held * 1000 > 50_000
