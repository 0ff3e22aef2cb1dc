"""What every store of runs must do for sessions, whichever it is."""

import itertools

import pytest

from agent_core.log.append import AppendStatus, End
from agent_core.log.contract import RunLog
from agent_core.log.encoding import NANO
from agent_core.log.errors import LogFullError, SessionBusyError
from agent_core.log.records import Exchange
from tests.support.stores import (
    COUNTING,
    LOST,
    OTHER,
    RUN,
    STOP,
    THIRD,
    Clock,
    OpenLog,
    payload,
    payloads,
    record,
)

NUMBERS = itertools.count()
"""Of the runs that say something."""


async def say(
    log: RunLog,
    question: str,
    answer: str = "",
    *,
    session: str = "s",
    owner: str = "alice",
) -> Exchange:
    """Let a run of a session come and end; return what was said in it."""
    run_id = f"k7q2{next(NUMBERS):026}"
    await log.create(record(run_id, session=session, owner=owner))
    exchange = Exchange(question, answer)
    await log.close(run_id, 1, 1, payloads(1, 1), End(STOP, exchange))
    return exchange


async def test_of_a_session_only_one_run_goes_on_at_a_time(log: RunLog) -> None:
    """The refusal names it; its end makes room, and so does its reaper."""
    await log.create(record(session="s"))
    with pytest.raises(SessionBusyError) as refused:
        await log.create(record(OTHER, session="s"))
    assert refused.value.run_id == RUN
    assert await log.info(OTHER) is None
    await log.close(RUN, 1, 1, payloads(1, 1), End(STOP))
    await log.create(record(OTHER, session="s"))
    await log.reap(OTHER, 1, payload("lost"), LOST)
    await log.create(record(THIRD, session="s"))
    assert await log.history("alice", "s") == []


async def test_what_is_no_other_run_of_the_session_is_not_refused(log: RunLog) -> None:
    """The same run or request again, another principal's session of that name, and runs of no session."""
    first = record(session="s", key="k")
    await log.create(first)
    assert await log.create(first) == first
    assert await log.create(record(OTHER, session="s", key="k")) == first
    await log.create(record(OTHER, session="s", owner="bob"))
    for letter in "cd":
        await log.create(record("k7q2" + letter * 26))


async def test_a_forgotten_run_keeps_its_session_no_longer(log: RunLog) -> None:
    """Nor is it told among the session's runs; a repetition of its creation is a new run."""
    await log.create(record(session="s"))
    await log.delete(RUN)
    assert await log.session_runs("alice", "s", 9) == []
    await log.create(record(OTHER, session="s"))
    with pytest.raises(SessionBusyError):
        await log.create(record(session="s"))


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_a_run_that_found_no_room_does_not_keep_its_session(open_log: OpenLog) -> None:
    """It was never created."""
    log = await open_log(run_bytes=60_000, total_bytes=100_000)
    await log.create(record(RUN))
    await log.append(RUN, 1, 1, [payload("x" * 50_000)])
    for _ in range(2):
        with pytest.raises(LogFullError):
            await log.create(record(OTHER, session="s"))
    await log.delete(RUN)
    await log.create(record(OTHER, session="s"))


async def test_a_session_remembers_what_was_said_within_its_budget(open_log: OpenLog) -> None:
    """The newest exchanges, oldest first; none that is too large by itself; none of another session."""
    log = await open_log(session_exchanges=3, session_bytes=100)
    said, seen = [], []
    for number, size in enumerate((5, 5, 5, 5, 90, 91)):
        said.append(await say(log, f"question {number}", "x" * size))
        seen.append(await log.history("alice", "s"))
    assert seen[:4] == [said[:1], said[:2], said[:3], said[1:4]]
    assert seen[4] == seen[5] == said[4:5]
    assert await log.history("bob", "s") == await log.history("alice", "other") == []


async def test_a_session_may_be_told_to_remember_nothing(open_log: OpenLog) -> None:
    """Of no exchanges it keeps none."""
    log = await open_log(session_exchanges=0)
    await say(log, "question", "answer")
    assert await log.history("alice", "s") == []


async def test_texts_come_back_as_they_were(log: RunLog) -> None:
    """Whatever is in them; and an answer may be empty."""
    said = [await say(log, "a\0b\r\n", "\U0001f44d ä \u2028 \ufffe"), await say(log, " ", "")]
    assert await log.history("alice", "s") == said


async def test_a_repeated_end_is_remembered_once(log: RunLog) -> None:
    """And an end without an exchange leaves nothing."""
    await log.create(record(session="s"))
    for _ in range(2):
        appended = await log.close(RUN, 1, 1, payloads(1, 1), End(STOP, Exchange("1", "one")))
        assert appended.status is AppendStatus.OK
    await log.create(record(OTHER, session="s"))
    await log.close(OTHER, 1, 1, payloads(1, 1), End(LOST))
    assert await log.history("alice", "s") == [Exchange("1", "one")]


async def test_an_end_that_is_refused_leaves_nothing(log: RunLog) -> None:
    """Neither one that comes too early, nor one of a writer that was taken for lost."""
    await log.create(record(session="s"))
    early = await log.close(RUN, 1, 2, payloads(2, 1), End(STOP, Exchange("1", "one")))
    assert early.status is AppendStatus.GAP
    await log.reap(RUN, 1, payload("lost"), LOST)
    late = await log.close(RUN, 1, 1, payloads(1, 1), End(STOP, Exchange("1", "one")))
    assert late.status is AppendStatus.FENCED
    assert await log.history("alice", "s") == []


async def test_what_a_session_remembers_outlives_its_runs_for_a_while(
    open_log: OpenLog, clock: Clock
) -> None:
    """And is forgotten as a whole, so long after the last of it was said."""
    log = await open_log(retention_s=10, session_retention_s=100)
    one = await say(log, "1", "one")
    clock.unix_nano += 99 * NANO
    two = await say(log, "2", "two")
    clock.unix_nano += 99 * NANO
    await log.create(record(session="other"))  # sweeps
    assert await log.session_runs("alice", "s", 9) == []
    assert await log.history("alice", "s") == [one, two]
    clock.unix_nano += NANO
    assert await log.history("alice", "s") == []
    three = await say(log, "3", "three")
    assert await log.history("alice", "s") == [three]


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_what_all_sessions_remember_is_bounded(open_log: OpenLog) -> None:
    """To a quarter of the room, so that ended runs are kept too; the oldest sessions are forgotten first."""
    log = await open_log(run_bytes=10_000, total_bytes=100_000)
    said = {str(number): await say(log, "q", "x" * 5_000, session=str(number)) for number in range(9)}
    remembered = [name for name in said if await log.history("alice", name)]
    assert remembered == ["5", "6", "7", "8"]
    assert await log.history("alice", "8") == [said["8"]]
    assert len([name for name in said if await log.session_runs("alice", name, 1)]) == 9


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_without_room_sessions_forget_what_was_said(open_log: OpenLog) -> None:
    """After the ended runs, and before a run is refused."""
    log = await open_log(run_bytes=60_000, total_bytes=100_000)
    await say(log, "q", "x" * 20_000)
    await log.create(record(OTHER))
    await log.append(OTHER, 1, 1, [payload("x" * 15_000)])
    assert await log.history("alice", "s")
    await log.append(OTHER, 1, 2, [payload("x" * 10_000)])
    await log.create(record(THIRD, session="s"))
    assert await log.history("alice", "s") == []


async def test_a_sessions_runs_are_told_newest_first_and_by_pages(open_log: OpenLog, clock: Clock) -> None:
    """Live or ended, of one principal, until they are forgotten."""
    log = await open_log(retention_s=10)
    ids = [f"k7q2{number:026}" for number in range(5)]
    for number, run_id in enumerate(ids):
        await log.create(record(run_id, session="s", create=number // 2))
        if run_id != ids[-1]:
            await log.close(run_id, 1, 1, payloads(1, 1), End(STOP))
    newest = await log.session_runs("alice", "s", 2)
    assert [info.record.run_id for info in newest] == [ids[4], ids[3]]
    assert [info.outcome for info in newest] == [None, STOP]
    older = await log.session_runs("alice", "s", 9, (newest[1].record.create_unix_nano, ids[3]))
    assert [info.record.run_id for info in older] == [ids[2], ids[1], ids[0]]
    assert await log.session_runs("bob", "s", 9) == []
    clock.unix_nano += 11 * NANO
    assert [info.record.run_id for info in await log.session_runs("alice", "s", 9)] == [ids[4]]
