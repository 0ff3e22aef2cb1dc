"""Which set-ups of Redis a core serves on, and which it refuses: Sentinels, a cluster, full memory."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_core.log.redis import RedisLog
from agent_core.rpc.service import SERVICE
from agent_core.server import CoreStartError
from tests.support.core import Core, events_of, rest_of, running_core, stream_request
from tests.support.processes import Processes
from tests.support.proxy import proxy_to
from tests.support.redis_server import RedisSentinel, RedisServer
from tests.support.stores import RUN, payloads, record
from tokenwire.v1 import agent_service_pb2 as pb

pytestmark = pytest.mark.needs("redis")

WITHIN_S = 60.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """A Sentinel with a primary and a replica, which the last test exchanges."""
    with RedisSentinel(tmp_path_factory.mktemp("sentinel")) as started:
        yield started


async def until(core: Core, status: int) -> None:
    """Return when the health of a core says so."""
    stub = health_pb2_grpc.HealthStub(core.channel)
    async with asyncio.timeout(WITHIN_S):
        while (await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status != status:
            await asyncio.sleep(0.05)


async def test_a_node_of_a_cluster_is_refused(processes: Processes, tmp_path: Path) -> None:
    """With one line that says why, no password, and the status of a wrong setting: waiting does not help."""
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    try:
        core = processes.start(
            "core",
            [sys.executable, "-m", "agent_core"],
            {"TOKENWIRE_STORE": server.url.replace("//", "//:secret@"), "TOKENWIRE_GRPC_PORT": "0"},
        )
        server.client.config_set("requirepass", "secret")
        assert await asyncio.to_thread(core.wait) == 2
        (line,) = [line for line in core.stderr.splitlines() if "cluster_enabled" in line]
        assert f"TOKENWIRE_STORE=redis://…@127.0.0.1:{server.port}/0: Redis Cluster is not supported" in line
        assert "secret" not in core.stderr
        assert "Traceback" not in core.stderr
    finally:
        server.stop()


async def test_a_core_notices_full_memory_and_that_it_is_over(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its health says so, runs wait, one line tells of it; with memory again, all goes on by itself."""
    async with running_core(store=redis_server.url) as core:
        await until(core, SERVING)
        call = core.stub.StreamRun(stream_request("slow"))
        responses = [await call.read()]
        with caplog.at_level(logging.WARNING):
            redis_server.client.config_set("maxmemory", "1")
            await until(core, NOT_SERVING)
            redis_server.client.config_set("maxmemory", "0")
            await until(core, SERVING)
        told = [record.getMessage() for record in caplog.records if "run log" in record.getMessage()]
        assert [text.partition(":")[0].partition(" after")[0] for text in told] == [
            "the run log can't be reached",
            "the run log can be reached again",
        ]
        assert "maxmemory" in told[0]
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=responses[0].run_id))
        events = events_of([*responses, *await rest_of(call)])
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert events[-1].done.final_message == "".join(event.text_delta.content for event in events)


async def test_sentinels_that_know_no_such_primary_are_refused(sentinel: RedisSentinel) -> None:
    """Or that can't be reached: in one line, without a password."""
    for place in (f"127.0.0.1:{sentinel.port}/other", "127.0.0.1:1/mymaster"):
        url = f"redis+sentinel://user:secret@{place}/0"
        with pytest.raises(CoreStartError, match="Redis can't be used: No master found") as raised:
            async with running_core(store=url):
                pass
        assert "secret" not in str(raised.value)


async def test_a_log_on_sentinels_is_in_the_database_that_the_url_names(sentinel: RedisSentinel) -> None:
    """The same keys as with the primary's own address."""
    log = RedisLog(f"{sentinel.url.removesuffix('0')}3", prefix="t", core="core")
    await log.start()
    await log.create(record())
    await log.append(RUN, 1, 1, payloads(1, 1))
    await log.aclose()
    await log.peers._client.aclose()
    assert sentinel.primary.client.info("keyspace")["db3"]["keys"] > 0


async def test_a_core_finds_the_primary_again_that_became_a_replica(sentinel: RedisSentinel) -> None:
    """Its lease, its runs and its readers move to the one that Sentinel names, though no server went down."""
    async with running_core(store=sentinel.url) as one, running_core(store=sentinel.url) as other:
        call = other.stub.StreamRun(stream_request("slow"))
        responses = [await call.read()]
        run_id = responses[0].run_id
        there = one.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        read = [await there.read()]
        await asyncio.to_thread(sentinel.fail_over)
        await until(one, SERVING)
        async with asyncio.timeout(WITHIN_S):
            await one.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), wait_for_ready=True)
            events = events_of([*responses, *await rest_of(call)])
            followed = events_of([*read, *await rest_of(there)])
    assert events[-1].done.final_message
    for given in (events, followed):
        assert [event.sequence for event in given] == list(range(1, len(events) + 1))
        assert "".join(event.text_delta.content for event in given) == events[-1].done.final_message


async def test_a_primary_that_is_exchanged_behind_its_address_is_found(tmp_path: Path) -> None:
    """The old one stays, as a replica, with the connections to it: what it refuses leads to new ones."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first, second = (RedisServer(folder, "--repl-diskless-sync-delay", "0") for folder in folders)
    try:
        second.client.replicaof("127.0.0.1", str(first.port))
        with proxy_to(f"127.0.0.1:{first.port}") as proxy:
            async with running_core(store=f"redis://127.0.0.1:{proxy.port}/0") as core:
                call = core.stub.StreamRun(stream_request("slow"))
                responses = [await call.read()]
                async with asyncio.timeout(WITHIN_S):
                    while second.client.info("replication")["master_link_status"] != "up":
                        await asyncio.sleep(0.05)
                proxy.send_to(f"127.0.0.1:{second.port}")
                second.client.replicaof("NO", "ONE")
                first.client.replicaof("127.0.0.1", str(second.port))
                async with asyncio.timeout(WITHIN_S):
                    while not any(event.sequence > 20 for event in events_of(responses)):
                        responses.append(await call.read())
                await until(core, SERVING)
                assert (await core.events("echo", "a b"))[-1].done.final_message == "a b "
                await core.stub.CancelRun(pb.CancelRunRequest(run_id=responses[0].run_id))
                events = events_of([*responses, *await rest_of(call)])
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert second.client.exists(f"tokenwire:{{{responses[0].run_id}}}:log")
    finally:
        first.stop()
        second.stop()
