"""The store `redis://…`: what is left behind, and what becomes of runs where Redis has no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from agent_core.log.budget import LogBudget
from agent_core.log.contract import (
    START,
    Appended,
    AppendStatus,
    Batch,
    End,
    LogFullError,
    LogGoneError,
    PrincipalLogFullError,
)
from agent_core.log.peers import PeerMessage
from agent_core.log.redis import RedisLog
from agent_core.runs.follower import CaughtUp
from tests.support.core import Core, events_of, refusal_of, rest_of, running_core, stream_request
from tests.support.redis_server import RedisServer, shared_redis
from tests.support.stores import FAR, LOST, OTHER, RUN, STOP, THIRD, follow, payload, payloads, record
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_CANCELLED, Event
from tokenwire.v1.run_pb2 import RunSpec

pytestmark = pytest.mark.needs("redis")

WITHIN_S = 30.0


@pytest.fixture
async def log() -> AsyncIterator[RedisLog]:
    """A log of its own on the shared server."""
    store = RedisLog(shared_redis().url, LogBudget(retention_s=60), prefix=uuid4().hex, core="core")
    await store.start()
    yield store
    await store.aclose()


def left(prefix: str) -> dict[str, int]:
    """Return the keys of a prefix with their time to live in milliseconds: -1 for those that never expire."""
    client = shared_redis().client
    return {key.decode(): client.pttl(key) for key in client.keys(f"{prefix}:*")}


async def until(condition: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.05)


async def test_when_all_runs_have_ended_and_retention_has_passed_no_key_is_left() -> None:
    """Whatever became of the runs; a core's own keys go with its orderly stop."""
    prefix = uuid4().hex
    settings = {
        "store": shared_redis().url,
        "redis_prefix": prefix,
        "log_retention_s": 1,
        "session_retention_s": 1,
    }
    async with running_core(**settings) as one:
        async with running_core(**settings) as other:
            await one.events("echo", "a b", session_id="s", request_id="r")
            await one.events("raises_after", "a", session_id="t")
            for core, told in ((one, one), (one, other)):
                run_id = await core.start("slow", session_id="u", request_id=uuid4().hex)
                call = other.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
                await call.read()
                await told.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
                await rest_of(call)
            lasting = {key for key, ttl in left(prefix).items() if ttl == -1}
            assert lasting == {f"{prefix}:cores"}
            await until(
                lambda: set(left(prefix)) <= lasting | {key for key in left(prefix) if ":core:" in key}
            )
        names = shared_redis().client.hkeys(f"{prefix}:cores")
        assert [name.decode() for name in names] == [one.server._peers.name]
    await until(lambda: not left(prefix))


async def test_a_core_that_stops_with_open_runs_leaves_word_of_them() -> None:
    """Another core finds and closes them; then nothing of the first one is left."""
    prefix = uuid4().hex
    settings = {"store": shared_redis().url, "redis_prefix": prefix, "log_retention_s": 1}
    first = RedisLog(shared_redis().url, prefix=prefix, core="first")
    await first.start()
    await first.peers.start(Deaf())
    await first.create(record(core="first"))
    await first.append(RUN, 1, 1, payloads(1, 2))
    await first.peers.aclose()
    await first.aclose()
    assert shared_redis().client.hexists(f"{prefix}:cores", "first")
    async with running_core(**settings):
        await until(lambda: not shared_redis().client.hexists(f"{prefix}:cores", "first"))
        assert shared_redis().client.hget(f"{prefix}:{{{RUN}}}:meta", "out") == b"error"
    await until(lambda: not left(prefix))


class Deaf:
    """A listener that does nothing."""

    def on_message(self, message: object) -> None: ...
    def on_peer_lost(self, core: str) -> None: ...
    async def on_lease_lost(self) -> None: ...
    def on_lease_renewed(self) -> None: ...
    def on_log_away(self, error: Exception) -> None: ...


async def test_a_reader_of_a_run_that_its_writer_gave_up_on_a_wiped_redis_is_told(log: RedisLog) -> None:
    """Nobody brings the run back: the reader must not wait for ever, nor anything be kept of it."""
    await log.create(record(RUN, core="core"))
    await log.append(RUN, 1, 1, payloads(1, 2))
    follower = await follow(log, RUN, START, 10, FAR)
    given = [type(await follower.next()) for _ in range(2)]
    assert given == [Batch, CaughtUp]
    waiting = asyncio.create_task(follower.next())
    await asyncio.sleep(0)
    shared_redis().client.delete(log._keys.meta(RUN), log._keys.log(RUN))
    assert (await log.reap(RUN, 1, payload("end"), LOST)).status is AppendStatus.GONE
    with pytest.raises(LogGoneError):
        await asyncio.wait_for(waiting, WITHIN_S)
    await follower.aclose()
    assert log._known._runs == {}
    assert await log.open_runs() == []


async def test_a_core_hears_a_word_once_also_after_its_lease_ran_out(redis_server: RedisServer) -> None:
    """Two words of one who left would be two who left."""
    heard: list[PeerMessage] = []

    class Ears(Deaf):
        def on_message(self, message: object) -> None:
            heard.append(message)  # type: ignore[arg-type]

    log = RedisLog(redis_server.url, prefix="t", core="core")
    await log.start()
    await log.peers.start(Ears())
    word = PeerMessage("left", RUN, "other")
    assert await log.peers.send("core", word)
    await until(lambda: heard == [word])
    client = redis_server.client
    for _ in range(2):
        await until(lambda: client.xlen("t:core:core:inbox") == 0)
        client.delete("t:core:core")
        await until(lambda: client.exists("t:core:core"))
    await log.peers.send("core", word._replace(run_id=OTHER))
    await until(lambda: len(heard) > 1)
    assert [word.run_id for word in heard] == [RUN, OTHER]
    await log.peers.aclose()
    await log.aclose()


async def test_a_redis_behind_a_unix_socket_is_a_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A path in place of an address."""
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder, "--unixsocket", str(folder / "redis.sock"))
    try:
        async with running_core(store=f"unix://{folder / 'redis.sock'}") as core:
            assert events_of_kind(await core.events("echo", "a b"), "done")
    finally:
        server.stop()


def events_of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event.HasField(kind)]


async def test_a_core_that_came_back_is_not_forgotten(log: RedisLog) -> None:
    """Neither while its lease stands nor while it has an open run: its runs could never be found again."""
    client, prefix = shared_redis().client, log._keys.prefix
    await log.create(record(RUN, core="lost"))
    client.hset(f"{prefix}:cores", "lost", "process")
    await log.peers.forget("lost")
    assert await log.open_runs("lost") == [RUN]
    await log.reap(RUN, 1, payload("end"), LOST)
    client.set(f"{prefix}:core:lost", "process")
    await log.peers.forget("lost")
    assert client.hexists(f"{prefix}:cores", "lost")
    client.delete(f"{prefix}:core:lost")
    await log.peers.forget("lost")
    assert not client.hexists(f"{prefix}:cores", "lost")
    await log.peers._client.aclose()


async def test_a_run_that_vanished_is_no_open_run_for_ever(log: RedisLog) -> None:
    """Where its keys have expired unclosed, it leaves the sets with the core that wrote it."""
    client, prefix = shared_redis().client, log._keys.prefix
    await log.create(record(RUN, core="lost"))
    client.delete(f"{prefix}:{{{RUN}}}:meta", f"{prefix}:{{{RUN}}}:log")
    await log.peers.forget("lost")
    assert not client.exists(f"{prefix}:open", f"{prefix}:core:lost:runs")
    await log.peers._client.aclose()


async def test_the_end_of_a_run_leaves_another_runs_request_alone(log: RedisLog) -> None:
    """A run that was lost and restored no longer has the name that another has taken since."""
    client, prefix = shared_redis().client, log._keys.prefix
    await log.create(record(RUN, key="k"))
    client.delete(f"{prefix}:{{{RUN}}}:meta", f"{prefix}:{{{RUN}}}:log")
    await log.create(record(OTHER, key="k"))
    await log.restore(record(RUN, key="k"), 1, 1, payloads(1, 2))
    await log.close(RUN, 1, 3, payloads(3, 1), End(STOP))
    assert client.pttl(f"{prefix}:request:k") > 3_600_000
    standing = await log.standing("k")
    assert standing is not None
    assert standing.run_id == OTHER


async def test_a_run_that_was_logged_without_its_message_has_none(log: RedisLog) -> None:
    """By a core of an earlier version: it is read, written, counted and closed as before."""
    client, prefix = shared_redis().client, log._keys.prefix
    await log.create(record(RUN, session="s", message="lost"))
    client.hdel(f"{prefix}:{{{RUN}}}:meta", "message")
    assert await log.messages([RUN]) == [""]
    assert [info.record.run_id for info in await log.session_runs("alice", "s", 9)] == [RUN]
    assert (await log.append(RUN, 1, 1, payloads(1, 2))).status is AppendStatus.OK
    assert (await log.close(RUN, 1, 3, payloads(3, 1), End(STOP))).status is AppendStatus.OK
    assert await log.messages([RUN]) == [""]


async def test_a_restored_run_has_its_message_again(log: RedisLog) -> None:
    """Its writer brings it back with the events."""
    client, prefix = shared_redis().client, log._keys.prefix
    await log.create(record(RUN, message="hello"))
    client.delete(f"{prefix}:{{{RUN}}}:meta", f"{prefix}:{{{RUN}}}:log")
    assert await log.messages([RUN]) == [""]
    await log.restore(record(RUN, message="hello"), 1, 1, payloads(1, 2))
    assert await log.messages([RUN]) == ["hello"]


async def test_an_account_of_an_earlier_version_is_taken_over() -> None:
    """Its entries of live runs have no length of a message, and there is no sum of them."""
    budget = LogBudget(run_bytes=64 * 1024, principal_bytes=160 * 1024)
    log = RedisLog(shared_redis().url, budget, prefix=uuid4().hex, core="core")
    await log.start()
    try:
        await log.create(record(RUN, message="x" * 17_384))
        client, key = shared_redis().client, log._keys.owner("alice")
        client.hset(key, RUN, "L 2048")
        client.hdel(key, "@asked")
        with pytest.raises(PrincipalLogFullError):
            await log.create(record(OTHER, message="y" * 64 * 1024))
        await log.append(RUN, 1, 1, payloads(1, 2))
        assert client.hget(key, "@asked") == b"1000"
        await log.create(record(OTHER, message="y" * 17_384))
        assert client.hget(key, "@asked") == b"2000"
        await log.close(RUN, 1, 3, payloads(3, 1), End(STOP))
        assert client.hget(key, "@asked") == b"1000"
        await log.delete(OTHER)
        assert client.hget(key, "@asked") == b"0"
        await log.delete(RUN)
        assert client.hget(key, "@held") == b"0"
    finally:
        await log.aclose()


def without_memory(server: RedisServer) -> None:
    """Leave a server no memory for anything new."""
    server.client.config_set("maxmemory", "1")


def with_memory(server: RedisServer) -> None:
    server.client.config_set("maxmemory", "0")


async def test_without_memory_no_run_begins_and_each_gets_its_end(redis_server: RedisServer) -> None:
    """The end is small, and without it readers would wait for ever: it is written beyond the limit."""
    log = RedisLog(redis_server.url, prefix="t", core="core")
    await log.start()
    for run_id in (RUN, OTHER):
        await log.create(record(run_id))
        await log.append(run_id, 1, 1, payloads(1, 3))
    without_memory(redis_server)
    with pytest.raises(LogFullError):
        await log.create(record(THIRD))
    assert await log.info(THIRD) is None
    assert await log.close(RUN, 1, 4, payloads(4, 2), End(STOP)) == Appended(AppendStatus.OK)
    assert await log.reap(OTHER, 1, payload("end"), LOST) == Appended(AppendStatus.OK)
    for run_id, outcome, count in ((RUN, STOP, 5), (OTHER, LOST, 4)):
        info = await log.info(run_id)
        assert info is not None
        assert (info.outcome, info.last.sequence) == (outcome, count)
    await log.aclose()
    await log.peers._client.aclose()


async def test_a_run_that_meets_the_end_of_memory_waits_and_can_be_stopped(redis_server: RedisServer) -> None:
    """Its followers are told, nothing of it is lost, and new runs are refused as LOG_FULL."""
    async with running_core(store=redis_server.url) as core:
        first = await begun(core)
        second = await begun(core)
        without_memory(redis_server)
        await read_until_degraded(first)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=first[1][0].run_id))
        events = events_of([*first[1], *await rest_of(first[0])])
        assert events[-1].done.finish_reason == FINISH_REASON_CANCELLED
        assert events[-1].done.final_message == "".join(event.text_delta.content for event in events)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await core.stub.StartRun(pb.StartRunRequest(run=RunSpec(agent="slow", message="hi")))
        assert refusal_of(caught.value).info.reason == "LOG_FULL"
        with_memory(redis_server)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=second[1][0].run_id))
        events = events_of([*second[1], *await rest_of(second[0])])
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert events[-1].done.final_message == "".join(event.text_delta.content for event in events)


async def begun(core: Core) -> tuple[Any, list[Any]]:
    """Return a stream that has begun, and what it has given so far."""
    call = core.stub.StreamRun(stream_request("slow"))
    return call, [await call.read()]


async def read_until_degraded(stream: tuple[Any, list[Any]]) -> None:
    call, responses = stream
    while responses[-1].control.WhichOneof("control") != "degraded":
        responses.append(await call.read())
