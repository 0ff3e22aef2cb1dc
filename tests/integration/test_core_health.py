"""What a core's health says of its log."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_core.rpc.service import SERVICE
from tests.integration.test_core_stream import assert_dense
from tests.support.core import Core, events_of, rest_of, running_core, stream_request
from tests.support.redis_server import RedisServer
from tokenwire.v1 import agent_service_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WITHIN_S = 60.0


async def health(core: Core, service: str = SERVICE) -> int:
    stub = health_pb2_grpc.HealthStub(core.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def until(core: Core, status: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while await health(core) != status:
            await asyncio.sleep(0.05)


@pytest.mark.needs("redis")
async def test_health_follows_redis_and_the_process_stays_well(redis_server: RedisServer) -> None:
    """Gone, back, stalled, back: each is told once, and the server as a whole, the process, serves on."""
    async with running_core(store=redis_server.url) as core:
        stub = health_pb2_grpc.HealthStub(core.channel)
        told: list[int] = []

        async def watch() -> None:
            call = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            while True:
                told.append((await call.read()).status)

        watching = asyncio.create_task(watch())
        await until(core, SERVING)
        redis_server.kill()
        await until(core, NOT_SERVING)
        assert await health(core, "") == SERVING
        redis_server.start()
        await until(core, SERVING)
        with redis_server.stalled():
            await until(core, NOT_SERVING)
        await until(core, SERVING)
        assert (await core.events("echo", "a b"))[-1].done.final_message == "a b "
        watching.cancel()
        assert told == [SERVING, NOT_SERVING, SERVING, NOT_SERVING, SERVING]


async def test_health_follows_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    """Somebody else holds its lock: the run waits, and goes on when the lock is free."""
    path = tmp_path / "runs.db"
    async with running_core(store=f"sqlite:{path}") as core:
        call = core.stub.StreamRun(stream_request("slow"))
        responses = [await call.read()]
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await until(core, NOT_SERVING)
        other.execute("ROLLBACK")
        other.close()
        await until(core, SERVING)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=responses[0].run_id))
        events = events_of([*responses, *await rest_of(call)])
        assert_dense(events)
        assert events[-1].done.final_message == "".join(event.text_delta.content for event in events)
