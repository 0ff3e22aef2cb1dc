"""What one principal keeps in a store, however much, costs nobody else a start or an event."""

from __future__ import annotations

import pytest

from agent_core.log.append import End
from agent_core.log.contract import RunLog
from agent_core.log.encoding import NANO
from agent_core.log.errors import PrincipalLogFullError
from agent_core.log.position import START
from agent_core.log.records import Exchange
from agent_core.runs.follower import Resync
from tests.support.stores import FAR, STOP, Clock, OpenLog, all_texts, follow, known, payload, record, texts

KIB = 1024
SHARE = 1024 * KIB
EVENT = 16 * KIB
BUDGET = {
    "run_bytes": 256 * KIB,
    "total_bytes": 4 * SHARE,
    "principal_bytes": SHARE,
    "session_bytes": 64 * KIB,
}
"""16 runs of the shortest ring, 64 KiB, fit into a share."""


def run_of(owner: str, number: int) -> str:
    return f"{owner}1".ljust(4, "2") + f"{number:026}"


async def start(log: RunLog, owner: str, number: int, session: str = "") -> str:
    run_id = run_of(owner, number)
    await log.create(record(run_id, f"{owner}\n{number}", owner=owner, session=session))
    return run_id


async def write(log: RunLog, run_id: str, first: int, count: int) -> None:
    for number in range(first, first + count):
        await log.append(run_id, 1, number, [payload(f"{number} ".ljust(EVENT, "x"))])


async def end(log: RunLog, run_id: str, number: int, exchange: Exchange | None = None) -> None:
    await log.close(run_id, 1, number, [payload("end")], End(STOP, exchange))


async def held(log: RunLog, owner: str, numbers: range) -> int:
    """Return how many bytes of events the log has of somebody's runs."""
    total = 0
    for number in numbers:
        if await log.info(run_of(owner, number)) is not None:
            batch = await log.read(run_of(owner, number), START, 10_000, FAR)
            total += sum(map(len, batch.events))
    return total


async def test_a_principal_who_fills_all_her_runs_keeps_others_from_nothing(open_log: OpenLog) -> None:
    """As many runs as she may have, each written over and over: bob starts, reads all, and is kept."""
    log = await open_log(**BUDGET)
    earlier = await start(log, "bob", 0)
    await write(log, earlier, 1, 8)
    await end(log, earlier, 9)
    hers = [await start(log, "ann", number) for number in range(12)]
    for turn in range(5):
        for run_id in hers:
            await write(log, run_id, 1 + turn * 8, 8)
    assert await held(log, "ann", range(12)) <= SHARE
    for number, run_id in enumerate(hers):
        info = await known(log, run_id)
        assert info.last.sequence == 40
        assert info.last.sequence - info.first.sequence + 1 >= 3, f"run {number} has hardly anything left"
    now = await start(log, "bob", 1)
    await write(log, now, 1, 15)
    await end(log, now, 16)
    assert len(await all_texts(log, now)) == 16
    assert len(await all_texts(log, earlier)) == 9


async def test_her_ended_runs_go_before_her_live_ones_are_cut_and_no_other_ones(
    open_log: OpenLog, clock: Clock
) -> None:
    """The oldest first, and only as many as needed."""
    log = await open_log(**BUDGET)
    await end(log, await start(log, "bob", 0), 1)
    for number in range(8):
        run_id = await start(log, "ann", number)
        await write(log, run_id, 1, 10)
        await end(log, run_id, 11)
        clock.unix_nano += NANO
    live = await start(log, "ann", 8)
    await write(log, live, 1, 15)
    left = [number for number in range(8) if await log.info(run_of("ann", number)) is not None]
    assert left == list(range(8 - len(left), 8))
    assert 3 <= len(left) <= 5
    assert (await known(log, live)).first.sequence == 1
    assert await log.info(run_of("bob", 0)) is not None
    again = record(run_of("ann", 99), "ann\n0", owner="ann")
    assert await log.create(again) == again, "what named a forgotten run is forgotten too"


async def test_her_idle_runs_are_cut_for_those_that_go_on(open_log: OpenLog) -> None:
    """Of the largest first: what is short stays whole. Readers that lack something are told."""
    log = await open_log(**BUDGET)
    small = await start(log, "ann", 0)
    await write(log, small, 1, 1)
    idle = [await start(log, "ann", number) for number in range(1, 5)]
    for run_id in idle:
        await write(log, run_id, 1, 14)
    follower = await follow(log, idle[0], START, 2)
    await follower.next()
    for number in range(5, 9):
        await write(log, await start(log, "ann", number), 1, 14)
    assert len(await all_texts(log, small)) == 1
    assert await held(log, "ann", range(9)) <= SHARE
    infos = [await known(log, run_of("ann", number)) for number in range(1, 9)]
    kept = [info.last.sequence - info.first.sequence + 1 for info in infos]
    assert all(4 <= count <= 13 for count in kept)
    assert min(kept) * 2 >= max(kept)
    await end(log, idle[0], 15)
    given = [await follower.next()]
    while given[-1] is not None:
        given.append(await follower.next())
    told = [one for one in given if isinstance(one, Resync)]
    assert [one.reason for one in told] == ["trimmed"]
    assert told[0].first == infos[0].first
    await follower.aclose()


async def test_a_start_is_refused_only_where_the_shortest_rings_do_not_fit(open_log: OpenLog) -> None:
    """Hers alone; bob's is accepted then, and hers again once something of hers has ended."""
    log = await open_log(**BUDGET)
    hers = [await start(log, "ann", number) for number in range(16)]
    for run_id in hers:
        await write(log, run_id, 1, 10)
    with pytest.raises(PrincipalLogFullError):
        await start(log, "ann", 16)
    for number in range(4):
        await write(log, await start(log, "bob", number), 1, 10)
    for run_id in hers:
        info = await known(log, run_id)
        assert info.last.sequence - info.first.sequence + 1 >= 3
    await end(log, hers[0], 11)
    await start(log, "ann", 40)


async def test_ended_runs_that_are_read_cost_their_own_principal_alone(open_log: OpenLog) -> None:
    """Readers hold them, but not beyond the share."""
    log = await open_log(**BUDGET)
    tails = []
    for number in range(12):
        run_id = await start(log, "ann", number)
        tails.append(await log.tail(run_id, START, 1, FAR))
        await write(log, run_id, 1, 15)
        await end(log, run_id, 16)
    assert await held(log, "ann", range(12)) <= SHARE
    await write(log, await start(log, "bob", 0), 1, 15)
    for tail in tails:
        await tail.aclose()


async def test_what_her_sessions_remember_costs_others_nothing(open_log: OpenLog, clock: Clock) -> None:
    """A quarter of her share; her oldest sessions forget first, bob's none."""
    log = await open_log(**BUDGET)
    said = Exchange("q", "x" * 40 * KIB)
    await end(log, await start(log, "bob", 0, "s"), 1, said)
    for number in range(20):
        clock.unix_nano += NANO
        await end(log, await start(log, "ann", number, f"s{number}"), 1, said)
    remembered = [number for number in range(20) if await log.history("ann", f"s{number}")]
    assert remembered == list(range(20 - len(remembered), 20))
    assert 4 <= len(remembered) <= 6
    assert await log.history("bob", "s") == [said]


async def test_what_was_forgotten_frees_the_share(open_log: OpenLog, clock: Clock) -> None:
    """Whether deleted, expired or closed by a reaper: the account does not drift."""
    log = await open_log(**BUDGET, retention_s=1)
    for turn in range(3):
        numbers = range(turn * 15, turn * 15 + 12)
        for number in numbers:
            run_id = await start(log, "ann", number)
            await write(log, run_id, 1, 6)
            if number % 3 == 0:
                await log.reap(run_id, 1, payload("lost"), STOP)
            elif number % 3 == 1:
                await log.delete(run_id)
            else:
                await end(log, run_id, 7)
        clock.unix_nano += 2 * NANO
    for number in range(100, 112):
        await start(log, "ann", number)


async def test_of_all_that_is_too_much_who_holds_the_most_gives_up_first(open_log: OpenLog) -> None:
    """Five who fill their shares do not shorten what is kept of a sixth, nor refuse him a start."""
    log = await open_log(**BUDGET | {"principal_bytes": SHARE * 7 // 8, "total_bytes": 4 * SHARE})
    mine = await start(log, "bob", 0)
    await write(log, mine, 1, 10)
    await end(log, mine, 11)
    for owner in ("ann", "cat", "dan", "eve", "fay"):
        for number in range(5):
            await write(log, await start(log, owner, number), 1, 15)
    await write(log, await start(log, "bob", 1), 1, 15)
    assert len(await all_texts(log, mine)) == 11
    assert len(await all_texts(log, run_of("bob", 1))) == 15


async def test_without_shares_all_are_one(open_log: OpenLog) -> None:
    """Where callers prove nothing there is the total alone."""
    log = await open_log(**BUDGET | {"principal_bytes": 0})
    for number in range(8):
        await write(log, await start(log, "ann", number), 1, 15)
    assert texts((await log.read(run_of("ann", 0), START, 1, FAR)).events)[0].startswith("1 ")
