"""Redis stops, restarts, stalls or loses all, in mid-run: runs go on, and their readers miss nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest

from tests.support.core import refusal_of
from tests.support.cores import CoreProcess, cancel_when_possible, running_cores, steps
from tests.support.processes import Processes
from tests.support.reader import WITHIN_S, Reader, reading
from tests.support.redis_server import RedisServer
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED

pytestmark = pytest.mark.needs("redis")

AOF = ("--appendonly", "yes", "--appendfsync", "always")
RDB = ("--save", "3600 1", "--dbfilename", "dump.rdb")
"""Written on an orderly end, too."""


@pytest.fixture
def make_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """Makes servers that keep their data as these options say."""
    servers: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path_factory.mktemp("redis"), *options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@asynccontextmanager
async def run_in_progress(
    processes: Processes, server: RedisServer, message: str
) -> AsyncIterator[tuple[CoreProcess, CoreProcess, list[Reader]]]:
    """Give two cores and those who read a run of the first one: one there, one at the other core."""
    async with running_cores(processes, 2, store=server.url) as (one, other):
        run_id = await one.start("counts", message)
        async with reading(run_id, one.address) as here, reading(run_id, other.address) as there:
            await asyncio.gather(here.more(50), there.more(50))
            yield one, other, [here, there]


async def assert_whole(readers: list[Reader], count: int) -> None:
    """Say that each got all numbers, and one end, without being told to begin again."""
    for reader in readers:
        read = await reader.whole()
        assert read.text == "".join(f"{number} " for number in range(count))
        assert read.resyncs == 0


async def tells_of(core: CoreProcess, run_id: str) -> None:
    """Return once a core tells of a run; until then it never says that there is none."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await core.run(run_id)
            except grpc.aio.AioRpcError as error:
                assert refusal_of(error).info.reason == "LOG_AWAY"  # noqa: PT017 # until it passes
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.parametrize("options", [AOF, RDB, ()], ids=["aof", "rdb", "wiped"])
async def test_a_run_outlives_a_restart_of_redis(
    processes: Processes, make_redis: Callable[..., RedisServer], options: tuple[str, ...]
) -> None:
    """Whether Redis keeps its data or not; readers at both cores are told that it was away."""
    server = make_redis(*options)
    async with run_in_progress(processes, server, "400 10") as (one, other, readers):
        await asyncio.to_thread(server.stop)
        await asyncio.gather(*(reader.until(lambda read: "degraded" in read.controls) for reader in readers))
        await asyncio.to_thread(server.start)
        await assert_whole(readers, 400)
        run_id = readers[0].reading.events[0].run_started.run_id
        assert steps(processes, run_id) == ["started", "finished"]
        for core in (one, other):
            async with reading(run_id, core.address) as late:
                assert (await late.whole()).text == readers[0].reading.text


async def test_a_redis_that_is_set_back_is_brought_up_to_date(
    processes: Processes, make_redis: Callable[..., RedisServer]
) -> None:
    """It crashes and comes back as it was some seconds ago: with half of one run, and without another."""
    server = make_redis(*RDB)
    async with run_in_progress(processes, server, "400 10") as (one, other, readers):
        server.client.save()
        quiet = await one.start("silent")
        async with reading(quiet, other.address) as waits:
            await asyncio.gather(waits.more(1), *(reader.more(50) for reader in readers))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await assert_whole(readers, 400)
            await cancel_when_possible(other, quiet)
            assert (await waits.whole()).events[-1].HasField("done")
            assert waits.connections == 1


async def test_a_stall_of_redis_reaps_nobody(processes: Processes, redis_server: RedisServer) -> None:
    """For three seconds it answers nothing; then all goes on where it was, also what says nothing itself."""
    async with run_in_progress(processes, redis_server, "400 10") as (one, other, readers):
        quiet = await one.start("silent")
        with redis_server.stalled():
            await asyncio.sleep(3)
        await assert_whole(readers, 400)
        assert (await other.run(quiet)).state != RUN_STATE_ENDED
        assert (await one.cancel(quiet)).run_id == quiet


async def test_a_wiped_redis_gets_every_live_run_back(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Those that talk, and those that are silent; with the same numbers, also for one who comes later."""
    async with run_in_progress(processes, redis_server, "400 10") as (one, other, readers):
        quiet = await one.start("silent")
        async with reading(quiet, other.address) as waits:
            await waits.more(1)
            for _ in range(3):
                redis_server.client.flushall()
                await tells_of(other, quiet)
                await asyncio.gather(*(reader.more(50) for reader in readers))
            await assert_whole(readers, 400)
            cancelled = await other.cancel(quiet)
            assert cancelled.run_id == quiet
            assert (await waits.whole()).events[-1].HasField("done")
        run_id = readers[0].reading.events[0].run_started.run_id
        async with reading(run_id, other.address) as late:
            assert (await late.whole()).text == readers[0].reading.text


async def test_stop_while_redis_is_away_is_refused_and_can_be_repeated(
    processes: Processes, redis_server: RedisServer
) -> None:
    """At both cores with a clear UNAVAILABLE; once it is back, the run is cancelled."""
    async with run_in_progress(processes, redis_server, "100000 10") as (one, other, readers):
        run_id = readers[0].reading.events[0].run_started.run_id
        redis_server.kill()
        for core in (one, other):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await core.cancel(run_id)
            refusal = refusal_of(refused.value)
            assert (refusal.code, refusal.info.reason) == ("UNAVAILABLE", "LOG_AWAY")
            assert refusal.retry.retry_delay.ToTimedelta().total_seconds() > 0
        await asyncio.to_thread(redis_server.start)
        await cancel_when_possible(other, run_id)
        for reader in readers:
            assert (await reader.whole()).events[-1].HasField("done")
        assert steps(processes, run_id) == ["started", "cancelled"]
