"""The store `redis://…`: the one script that appends for all runs of a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.exceptions import ResponseError

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.budget import LogBudget
from agent_core.log.errors import LogAwayError
from agent_core.log.peers import PeerMessage
from agent_core.log.position import START
from agent_core.log.redis import RedisLog
from agent_core.log.redis.appends import RENEW_S
from agent_core.log.redis.calls import OPEN_TTL_MS, Call
from agent_core.log.redis.records import decode_hint
from agent_core.log.redis.restoring import PART_EVENTS
from tests.support.redis_server import RedisServer, shared_redis
from tests.support.stores import (
    FAR,
    LOST,
    OTHER,
    RUN,
    STOP,
    THIRD,
    WAKE_S,
    answers_to,
    known,
    payload,
    payloads,
    record,
    soon,
    texts,
)

pytestmark = pytest.mark.needs("redis")

OK = Appended(AppendStatus.OK)
HINT_BYTES = 64 * 1024
"""As `hints.lua` has it."""


@pytest.fixture
async def log() -> AsyncIterator[RedisLog]:
    """A log of its own on the shared server."""
    store = RedisLog(shared_redis().url, prefix=uuid4().hex, core="core")
    await store.start()
    yield store
    await store.aclose()
    await store.peers._client.aclose()


@pytest.fixture
def subscribed(log: RedisLog) -> Iterator[redis.client.PubSub]:
    """A subscription to the channel of RUN."""
    with shared_redis().client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(log._keys.channel(RUN))
        pubsub.get_message(timeout=WAKE_S)
        yield pubsub


def heard(pubsub: redis.client.PubSub, timeout_s: float) -> bytes | None:
    """Return the next message; None where none comes in time."""
    message = pubsub.get_message(timeout=timeout_s)
    return message["data"] if message else None


def calls_of(command: str) -> int:
    """Return how often a command was called."""
    stats = shared_redis().client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_all_runs_of_a_turn_are_one_script_that_reads_and_writes_each_once(log: RedisLog) -> None:
    """A thousand times as many commands would be as many times as slow."""
    ids = [f"k7q2{number:026}" for number in range(50)]
    for run_id in ids:
        await log.create(record(run_id))
    await answers_to(log, [Append(run_id, 1, 1, payloads(1, 1)) for run_id in ids])
    commands = ("evalsha", "hmget", "xadd", "hset", "pexpire", "publish")
    before = {command: calls_of(command) for command in commands}
    assert await answers_to(log, [Append(run_id, 1, 2, payloads(2, 1)) for run_id in ids]) == [OK] * 50
    called = {command: calls_of(command) - before[command] for command in commands}
    assert called == {"evalsha": 1, "hmget": 50, "xadd": 50, "hset": 50, "pexpire": 0, "publish": 0}


async def test_what_is_wrong_with_one_run_of_a_turn_harms_no_other(log: RedisLog) -> None:
    """Each has its own answer, and so has one whose keys something else has spoilt."""
    ids = [f"k7q2{number:026}" for number in range(6)]
    good, fenced, gap, closed, spoilt, last = ids
    for run_id in ids:
        await log.create(record(run_id))
    await log.reap(fenced, 1, payload("end"), LOST)
    await log.close(closed, 1, 1, payloads(1, 1), End(STOP))
    shared_redis().client.set(log._keys.log(spoilt), "no stream")
    appends = [Append(run_id, 1, 1 + (run_id == gap), payloads(1, 2)) for run_id in ids]
    appends[2:2] = [Append("k7q2" + "z" * 26, 1, 1, payloads(1, 2))]
    answers = await answers_to(log, appends)
    assert isinstance(answers.pop(5), ResponseError)
    statuses = [
        AppendStatus.OK,
        AppendStatus.FENCED,
        AppendStatus.GONE,
        AppendStatus.GAP,
        AppendStatus.CLOSED,
    ]
    assert [answer.status for answer in answers] == [*statuses, AppendStatus.OK]  # type: ignore[union-attr]
    assert answers[3] == Appended(AppendStatus.GAP, 1)
    for run_id in (good, last):
        assert texts((await log.read(run_id, START, 9, FAR)).events) == ["1", "2"]


async def test_an_end_is_one_with_the_last_events_of_its_run_in_any_turn(log: RedisLog) -> None:
    """Beside runs that go on; a repetition of all changes nothing."""
    for run_id in (RUN, OTHER, THIRD):
        await log.create(record(run_id))
    turn = [
        Append(RUN, 1, 1, payloads(1, 2), End(STOP)),
        Append(OTHER, 1, 1, payloads(1, 2)),
        Append(THIRD, 1, 1, payloads(1, 1), End(STOP)),
    ]
    for _ in range(2):
        assert await answers_to(log, turn) == [OK] * 3
        assert [(await known(log, run_id)).outcome for run_id in (RUN, OTHER, THIRD)] == [STOP, None, STOP]
        assert texts((await log.read(RUN, START, 9, FAR)).events) == ["1", "2"]


async def test_scripts_that_were_flushed_are_loaded_again(log: RedisLog) -> None:
    """An operator may flush them at any time, without effect on runs."""
    for run_id in (RUN, OTHER):
        await log.create(record(run_id))
    for first in (1, 2):
        shared_redis().client.script_flush()
        turn = [Append(RUN, 1, first, payloads(first, 1)), Append(OTHER, 1, first, payloads(first, 1))]
        assert await answers_to(log, turn) == [OK] * 2
    shared_redis().client.script_flush()
    assert await log.close(RUN, 1, 3, payloads(3, 1), End(STOP)) == OK


async def test_appends_are_published_only_while_somebody_follows_elsewhere(
    log: RedisLog, subscribed: redis.client.PubSub
) -> None:
    """From the read on that follows on a subscription, until a message has no subscriber."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 2))
    assert heard(subscribed, 0.1) is None
    await log.read(RUN, START, 9, FAR, follow=True)
    await log.append(RUN, 1, 3, payloads(3, 2))
    hint = decode_hint(heard(subscribed, WAKE_S) or b"")
    assert (hint.flags, hint.epoch, hint.first, texts(hint.events)) == (0, 1, 3, ["3", "4"])
    await log.append(RUN, 1, 4, payloads(4, 2))  # 4 is known already
    hint = decode_hint(heard(subscribed, WAKE_S) or b"")
    assert (hint.first, texts(hint.events)) == (5, ["5"])
    await log.append(RUN, 1, 6, [payload("x" * HINT_BYTES)])
    assert decode_hint(heard(subscribed, WAKE_S) or b"").events == []  # the log has it
    subscribed.unsubscribe()
    await asyncio.to_thread(subscribed.get_message, timeout=0.2)
    await log.append(RUN, 1, 7, payloads(7, 1))
    assert not shared_redis().client.hexists(log._keys.meta(RUN), "followed")


async def test_appends_are_published_for_a_core_that_says_that_it_follows(
    log: RedisLog, subscribed: redis.client.PubSub
) -> None:
    """One of an earlier version does not mark the run; its messages are those of this version."""
    await log.peers.start(Silent())
    await log.create(record())
    for followers in (2, 0):
        await log.peers.send("core", PeerMessage("following", RUN, "other", followers))
        async with asyncio.timeout(WAKE_S):
            while bool(log._cache._runs[RUN].followed_at) != bool(followers):
                await asyncio.sleep(0.01)
        first = (await known(log, RUN)).last.sequence + 1
        await log.append(RUN, 1, first, payloads(first, 1))
        message = heard(subscribed, WAKE_S if followers else 0.1)
        assert (message is not None) == bool(followers)
    await log.peers.aclose()


class Silent:
    """A core that does nothing with what others say."""

    def on_message(self, message: object) -> None: ...
    def on_peer_lost(self, core: str) -> None: ...
    async def on_lease_lost(self) -> None: ...
    def on_lease_renewed(self) -> None: ...
    def on_log_away(self, error: Exception) -> None: ...


async def test_an_end_is_always_published(log: RedisLog, subscribed: redis.client.PubSub) -> None:
    """With its events, whether a reader has marked the run or not."""
    await log.create(record())
    await log.close(RUN, 1, 1, payloads(1, 2), End(STOP))
    hint = decode_hint(heard(subscribed, WAKE_S) or b"")
    assert (hint.flags, hint.first, texts(hint.events)) == (1, 1, ["1", "2"])


async def test_a_reader_elsewhere_is_told_again_after_its_mark_was_lost(log: RedisLog) -> None:
    """With a Redis that was wiped, or by a message without a subscriber: it marks the run when it looks."""
    other = RedisLog(shared_redis().url, prefix=log._keys.prefix, core="other")
    await other.start()
    await log.create(record(core="core"))
    tail = await other.tail(RUN, START, 9, FAR)
    client, meta = shared_redis().client, log._keys.meta(RUN)
    assert client.hexists(meta, "followed")
    client.hdel(meta, "followed")
    async with asyncio.timeout(WAKE_S):
        while not client.hexists(meta, "followed"):
            await asyncio.sleep(0.05)
    waiting = asyncio.create_task(tail.next())
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert texts((await soon(waiting)).events) == ["1"]  # type: ignore[attr-defined]
    await tail.aclose()
    await other.aclose()
    await other.peers._client.aclose()


async def test_the_time_to_live_of_a_runs_keys_begins_anew_each_hour(log: RedisLog) -> None:
    """Also where it was short: a run that goes on for longer than a week is not forgotten."""
    client, keys = shared_redis().client, (log._keys.meta(RUN), log._keys.log(RUN))
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert all(client.pttl(key) > OPEN_TTL_MS - 60_000 for key in keys)
    for key in keys:
        client.pexpire(key, 60_000)
    await log.append(RUN, 1, 2, payloads(2, 1))
    assert all(client.pttl(key) <= 60_000 for key in keys)
    run = log._cache.own(RUN)
    assert run is not None
    run.renew_s -= RENEW_S
    await log.append(RUN, 1, 3, payloads(3, 1))
    assert all(client.pttl(key) > OPEN_TTL_MS - 60_000 for key in keys)


async def test_an_owner_that_holds_too_much_gives_up_in_the_turn(redis_server: RedisServer) -> None:
    """The largest of her runs are cut; another owner's are not."""
    budget = LogBudget(run_bytes=64 * 1024, principal_bytes=128 * 1024)
    log = RedisLog(redis_server.url, budget, prefix="t", core="core")
    await log.start()
    try:
        for run_id, owner in ((RUN, "alice"), (OTHER, "alice"), (THIRD, "bob")):
            await log.create(record(run_id, owner=owner))
        for first in (1, 4):
            turn = [Append(run_id, 1, first, [payload("x" * 10_000)] * 3) for run_id in (RUN, OTHER, THIRD)]
            assert await answers_to(log, turn) == [OK] * 3
        more = [Append(run_id, 1, 7, [payload("x" * 1_000)] * 6) for run_id in (RUN, OTHER)]
        assert await answers_to(log, more) == [OK] * 2
        firsts = [(await known(log, run_id)).first.sequence for run_id in (RUN, OTHER, THIRD)]
        assert firsts[0] > 1
        assert firsts[2] == 1
        assert int(redis_server.client.hget("t:owner:alice", "@held") or 0) <= budget.principal_bytes
    finally:
        await log.aclose()
        await log.peers._client.aclose()


async def test_without_memory_runs_wait_and_ends_of_the_same_turn_are_written(
    redis_server: RedisServer,
) -> None:
    """Whichever was submitted first; with memory again, what waited is written as it was."""
    log = RedisLog(redis_server.url, prefix="t", core="core")
    await log.start()
    try:
        for run_id in (RUN, OTHER, THIRD):
            await log.create(record(run_id))
        redis_server.client.config_set("maxmemory", "1")
        turn = [
            Append(RUN, 1, 1, payloads(1, 1), End(STOP)),
            Append(OTHER, 1, 1, payloads(1, 1)),
            Append(THIRD, 1, 1, payloads(1, 1)),
        ]
        ended, *waiting = await answers_to(log, turn)
        assert ended == OK
        assert all(isinstance(answer, LogAwayError) and "maxmemory" in str(answer) for answer in waiting)
        redis_server.client.config_set("maxmemory", "0")
        assert await answers_to(log, turn[1:]) == [OK] * 2
        assert texts((await log.read(OTHER, START, 9, FAR)).events) == ["1"]
    finally:
        await log.aclose()
        await log.peers._client.aclose()


@pytest.mark.parametrize("is_lost_again", [False, True])
async def test_a_long_run_is_written_again_in_parts_and_read_as_a_whole(
    log: RedisLog, monkeypatch: pytest.MonkeyPatch, *, is_lost_again: bool
) -> None:
    """No script is long, and no reader gets the beginning alone, also if a part is lost meanwhile."""
    count = 3 * PART_EVENTS + 7
    written = payloads(1, count)
    client, meta = shared_redis().client, log._keys.meta(RUN)
    seen: list[int] = []
    run = log._committer.run

    async def watched(*calls: Call, creating: bool = False) -> Any:
        info = await log.info(RUN)
        seen.append(info.last.sequence if info is not None else 0)
        assert all(len(call.arguments) < PART_EVENTS + 100 for call in calls)
        if is_lost_again and len(seen) == 3:
            client.xtrim(log._keys.log(RUN), maxlen=0)
        return await run(*calls, creating=creating)

    monkeypatch.setattr(log._committer, "run", watched)
    if is_lost_again:
        with pytest.raises(LogAwayError):
            await log.restore(record(), 1, 1, written)
    else:
        assert await log.restore(record(), 1, 1, written) == OK
    assert set(seen) == {0}
    monkeypatch.undo()
    for _ in range(2):
        assert await log.restore(record(), 1, 1, written) == OK
        batch = await log.read(RUN, START, FAR, FAR)
        assert texts(batch.events) == texts_to(count)
        assert int(client.hget(meta, "bytes") or 0) == sum(map(len, batch.events))
    assert client.pttl(log._keys.log(RUN)) > OPEN_TTL_MS - 60_000


async def test_the_lost_end_of_a_long_run_is_written_again_behind_what_is_there(log: RedisLog) -> None:
    """What Redis still has stays as it is; what comes after a hole takes its place."""
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 2))
    count = 2 * PART_EVENTS
    assert await log.restore(record(), 1, 3, payloads(3, count)) == OK
    assert texts((await log.read(RUN, START, FAR, FAR)).events) == texts_to(count + 2)
    first = count + 10
    assert await log.restore(record(), 1, first, payloads(first, count)) == OK
    info = await known(log, RUN)
    assert (info.first.sequence, info.last.sequence) == (first, first + count - 1)


def texts_to(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]
