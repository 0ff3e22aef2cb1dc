"""What every store of runs must do with what users said, whichever it is."""

from __future__ import annotations

import pytest

from agent_core.log.append import End
from agent_core.log.contract import RunLog
from agent_core.log.encoding import NANO
from agent_core.log.errors import LogFullError, PrincipalLogFullError
from tests.support.stores import (
    COUNTING,
    LOST,
    OTHER,
    RUN,
    STOP,
    THIRD,
    Clock,
    OpenLog,
    known,
    payload,
    payloads,
    record,
)

KIB = 1024
SAID = "What is 2 ÷ 2? \N{GRINNING FACE}\r\n\x00"
LONG = "ä" * 20 * KIB
"""40 KiB in UTF-8."""


def run_of(owner: str, number: int) -> str:
    return f"{owner}1".ljust(4, "2") + f"{number:026}"


async def ask(log: RunLog, owner: str, number: int, message: str) -> str:
    run_id = run_of(owner, number)
    await log.create(record(run_id, owner=owner, message=message))
    return run_id


async def test_what_the_user_said_is_kept_as_long_as_the_run(open_log: OpenLog, clock: Clock) -> None:
    """Character by character, while it goes on, after its end, and not a moment longer than its events."""
    log = await open_log(retention_s=10)
    await log.create(record(message=SAID))
    assert await log.messages([RUN]) == [SAID]
    await log.close(RUN, 1, 1, payloads(1, 2), End(STOP))
    assert await log.messages([RUN]) == [SAID]
    clock.unix_nano += 11 * NANO
    assert await log.messages([RUN]) == [""]
    await log.create(record(OTHER, message="again"))
    assert await log.messages([RUN, OTHER]) == ["", "again"]


async def test_messages_come_in_the_order_of_the_question(open_log: OpenLog) -> None:
    """Empty for runs that are not known, and for those of which no message was kept."""
    log = await open_log()
    await log.create(record(RUN, message="one"))
    await log.create(record(OTHER))
    await log.create(record(THIRD, message="three"))
    unknown = run_of("bob", 1)
    assert await log.messages([THIRD, unknown, OTHER, RUN]) == ["three", "", "", "one"]
    assert await log.messages([]) == []


async def test_only_who_asks_for_a_message_is_given_it(open_log: OpenLog) -> None:
    """What is told of a run, of a session's runs and of a request's run has none; nor has any `repr`."""
    log = await open_log()
    asked = record(key="k", session="s", message="a secret")
    assert "secret" not in repr(await log.create(asked))
    found = [(await known(log)).record, (await log.session_runs("alice", "s", 9))[0].record]
    standing = await log.standing("k")
    assert standing is not None
    again = await log.create(record(OTHER, key="k", session="s", message="a secret"))
    assert again.run_id == RUN
    for told in (*found, standing, again):
        assert told == asked
        assert told.message == ""


async def test_a_repeated_creation_changes_no_message(open_log: OpenLog) -> None:
    """The first one stands."""
    log = await open_log()
    for message in ("first", "second"):
        await log.create(record(message=message))
    assert await log.messages([RUN]) == ["first"]


async def test_a_reaped_run_keeps_what_was_said(open_log: OpenLog) -> None:
    """Whoever closes it."""
    log = await open_log()
    await log.create(record(message=SAID))
    await log.append(RUN, 1, 1, payloads(1, 2))
    await log.reap(RUN, 1, payload("lost"), LOST)
    assert await log.messages([RUN]) == [SAID]


async def test_a_deleted_run_leaves_no_message(open_log: OpenLog) -> None:
    """Nor does one that is created in its place get it."""
    log = await open_log()
    await log.create(record(message=SAID))
    await log.delete(RUN)
    assert await log.messages([RUN]) == [""]
    await log.create(record(OTHER))
    assert await log.messages([RUN, OTHER]) == ["", ""]


async def test_messages_count_in_their_owners_share(open_log: OpenLog) -> None:
    """Her ended runs go early for what she said, and bob's do not."""
    log = await open_log(run_bytes=64 * KIB, total_bytes=4096 * KIB, principal_bytes=512 * KIB)
    await log.close(await ask(log, "bob", 0, LONG), 1, 1, payloads(1, 1), End(STOP))
    for number in range(20):
        await log.close(await ask(log, "ann", number, LONG), 1, 1, payloads(1, 1), End(STOP))
    left = [number for number in range(20) if await log.info(run_of("ann", number)) is not None]
    assert left == list(range(20 - len(left), 20))
    assert 10 <= len(left) <= 12
    assert await log.messages([run_of("bob", 0)]) == [LONG]


async def test_a_start_is_refused_where_live_messages_and_shortest_rings_do_not_fit(
    open_log: OpenLog,
) -> None:
    """What a message has beyond 16 KiB can't be cut: 88 KiB for each of hers, until one of them ends."""
    log = await open_log(run_bytes=64 * KIB, total_bytes=4096 * KIB, principal_bytes=512 * KIB)
    hers = [await ask(log, "ann", number, LONG) for number in range(5)]
    for run_id in hers:
        await log.append(run_id, 1, 1, [payload("x" * KIB)])
    with pytest.raises(PrincipalLogFullError):
        await ask(log, "ann", 5, LONG)
    await ask(log, "ann", 5, "short")
    await ask(log, "bob", 0, LONG)
    await log.close(hers[0], 1, 2, payloads(2, 1), End(STOP))
    await log.delete(hers[1])
    await ask(log, "ann", 6, LONG)
    assert await log.messages(hers[2:]) == [LONG] * 3


async def test_short_messages_cost_no_run(open_log: OpenLog) -> None:
    """As many go on as there are shortest rings in a share: the settings promise it."""
    log = await open_log(run_bytes=64 * KIB, total_bytes=4096 * KIB, principal_bytes=512 * KIB)
    said = "x" * 16 * KIB
    hers = [await ask(log, "ann", number, said) for number in range(8)]
    for run_id in hers:
        for sequence in range(1, 9):
            await log.append(run_id, 1, sequence, [payload("x" * 15 * KIB)])
    with pytest.raises(PrincipalLogFullError):
        await ask(log, "ann", 8, "")
    assert await log.messages(hers) == [said] * 8
    assert [(await known(log, run_id)).last.sequence for run_id in hers] == [8] * 8


async def test_live_rings_are_cut_for_messages_which_stay_whole(open_log: OpenLog) -> None:
    """Of the largest ring first: what was said is not shortened."""
    log = await open_log(run_bytes=256 * KIB, total_bytes=4096 * KIB, principal_bytes=512 * KIB)
    large = await ask(log, "ann", 0, LONG)
    for sequence in range(1, 15):
        await log.append(large, 1, sequence, [payload("x" * 16 * KIB)])
    others = [await ask(log, "ann", number, LONG) for number in range(1, 4)]
    for run_id in others:
        for sequence in range(1, 8):
            await log.append(run_id, 1, sequence, [payload("x" * 16 * KIB)])
    assert (await known(log, large)).first.sequence > 1
    assert (await known(log, large)).last.sequence == 14
    assert await log.messages([large, *others]) == [LONG] * 4


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_messages_count_in_all_that_the_store_keeps(open_log: OpenLog) -> None:
    """Also where owners have no shares."""
    log = await open_log(run_bytes=64 * KIB, total_bytes=128 * KIB)
    await ask(log, "ann", 0, LONG)
    with pytest.raises(LogFullError):
        await ask(log, "bob", 0, LONG)
    await log.close(run_of("ann", 0), 1, 1, payloads(1, 1), End(STOP))
    await ask(log, "bob", 1, LONG)
    assert await log.messages([run_of("ann", 0)]) == [""]


@pytest.mark.parametrize("open_log", COUNTING, indirect=True)
async def test_an_empty_store_takes_a_run_whatever_its_message(open_log: OpenLog) -> None:
    """Also one that has room for a single ring alone."""
    log = await open_log(run_bytes=64 * KIB, total_bytes=64 * KIB)
    assert await log.messages([await ask(log, "ann", 0, LONG)]) == [LONG]


async def test_a_sessions_runs_are_told_oldest_first_where_that_is_asked(open_log: OpenLog) -> None:
    """By pages too, in the exact opposite of the other order."""
    log = await open_log()
    ids = [f"k7q2{number:026}" for number in range(5)]
    for number, run_id in enumerate(ids):
        await log.create(record(run_id, session="s", create=number // 2))
        await log.close(run_id, 1, 1, payloads(1, 1), End(STOP))
    first = await log.session_runs("alice", "s", 2, oldest_first=True)
    assert [info.record.run_id for info in first] == ids[:2]
    place = (first[1].record.create_unix_nano, ids[1])
    rest = await log.session_runs("alice", "s", 9, place, oldest_first=True)
    assert [info.record.run_id for info in rest] == ids[2:]
    newest = await log.session_runs("alice", "s", 9)
    assert [info.record.run_id for info in newest] == ids[::-1]
    assert await log.session_runs("bob", "s", 9, oldest_first=True) == []
