"""Cores that end in order, and cores that come back without what they knew."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import grpc
import pytest

from tests.support.core import refusal_of
from tests.support.cores import running_cores, steps
from tests.support.processes import Processes
from tests.support.reader import Reader, reading
from tests.support.reading import content_of
from tests.support.redis_server import RedisServer
from tokenwire.v1 import agent_service_pb2 as pb


@pytest.mark.needs("redis")
async def test_sigterm_ends_each_run_once_and_waits_for_no_lease(
    processes: Processes, redis_server: RedisServer
) -> None:
    """What ends in time ends as it would; the rest says why it did not, to followers at either core."""
    settings = {"store": redis_server.url, "drain_s": 4}
    async with running_cores(processes, 2, **settings) as (one, other), AsyncExitStack() as stack:

        async def followed(agent: str, message: str) -> tuple[Reader, Reader]:
            run_id = await one.start(agent, message)
            here, there = [
                await stack.enter_async_context(reading(run_id, *cores))
                for cores in ((one.address, other.address), (other.address,))
            ]
            return here, there

        in_time = [await followed("counts", "60 20") for _ in range(2)]
        too_long = [await followed(agent, "hi") for agent in ("slow", "slow", "silent")]
        await asyncio.gather(*(reader.more(1) for pair in in_time + too_long for reader in pair))
        one.process.send(signal.SIGTERM)
        await asyncio.gather(*(here.until(lambda read: "draining" in read.controls) for here, _ in in_time))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.start("counts", "1 1")
        assert refusal_of(refused.value).info.reason == "CORE_DRAINING"

        for reader in (reader for pair in in_time for reader in pair):
            assert (await reader.whole()).events[-1].HasField("done")
        for reader in (reader for pair in too_long for reader in pair):
            last = (await reader.whole()).events[-1]
            assert (last.epoch, last.error.code, last.error.retryable) == (1, "UNAVAILABLE", True)
            assert last.error.details["reason"] == "CORE_SHUTDOWN"
        assert await asyncio.to_thread(one.process.wait) == 0
        for here, there in in_time + too_long:
            assert [*map(content_of, here.reading.events)] == [*map(content_of, there.reading.events)]
            assert steps(processes, here.run_id)[1:] in (["finished"], ["cancelled"])


async def test_a_core_that_lost_its_memory_says_so(processes: Processes) -> None:
    """Of its old runs that their events are lost; of ids that it never gave out, that it knows them not."""
    async with running_cores(processes, 1) as (core,):
        run_id = await core.start("slow")
        async with reading(run_id, core.address) as reader:
            await reader.more(5)
            core.kill()
        port = int(core.address.rpartition(":")[2])
    async with running_cores(processes, 1, port=port) as (back,):
        for call in (
            back.stub.FollowRun(pb.FollowRunRequest(run_id=run_id, after=reader.reading.cursor)).read(),
            back.run(run_id),
            back.cancel(run_id),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            refusal = refusal_of(refused.value)
            assert (refusal.code, refusal.info.reason) == ("DATA_LOSS", "RUN_LOG_LOST")
        own = await back.start("silent")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await back.run(own[:4] + run_id[4:])
        assert refusal_of(refused.value).code == "NOT_FOUND"
