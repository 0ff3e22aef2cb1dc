"""Cores that are killed: whoever is left closes their runs, once, and says why."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack

import grpc
import pytest

from tests.support.core import refusal_of
from tests.support.cores import running_cores, steps
from tests.support.processes import Processes
from tests.support.reader import Reader, reading
from tests.support.reading import Reading
from tests.support.redis_server import RedisServer
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED

pytestmark = pytest.mark.needs("redis")

logger = logging.getLogger(__name__)
"""Says what was measured: `pytest --log-cli-level=info`."""

LOST_S = 7.0
"""How soon the followers of a lost core's run are told, as the contract says."""

SLACK_S = 5.0
"""For a machine that has much else to do."""

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Runs a command in a process namespace of its own, as a container does."""

PROVEN_S = 4.0
"""How soon on one machine, where the process is seen to be gone, slack included: less than a lease's 5 s."""


def assert_lost(read: Reading) -> None:
    """Say that a run ended because its core is gone."""
    last = read.events[-1]
    assert (last.epoch, last.error.code, last.error.retryable) == (2, "UNAVAILABLE", True)
    assert last.error.details["reason"] == "PRODUCER_LOST"


async def end_of(reader: Reader, since: float) -> float:
    """Return how long after a moment a lost run's reader had its end."""
    assert_lost(await reader.whole(LOST_S + SLACK_S))
    return time.monotonic() - since


async def test_a_run_that_waited_for_a_person_ends_with_its_core(
    processes: Processes, redis_server: RedisServer
) -> None:
    """An answer that is sent meanwhile is refused clearly, as one that comes later."""
    async with running_cores(processes, 2, store=redis_server.url) as (one, other):
        run_id = await one.start("asks", "Delete 3 rows?")
        async with reading(run_id, other.address) as there:
            await there.until(lambda read: any(event.HasField("input_requested") for event in read.events))
            one.kill()
            answer = pb.SendInputRequest(run_id=run_id, input_id="1", value_json="true")
            for _ in range(2):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await other.stub.SendInput(answer, timeout=LOST_S + SLACK_S)
                assert refusal_of(caught.value).info.reason in {"INPUT_CLOSED", "LOG_AWAY"}
                assert_lost(await there.whole(LOST_S + SLACK_S))
            assert refusal_of(caught.value).info.reason == "INPUT_CLOSED"


async def test_followers_elsewhere_are_told_of_a_killed_core_before_its_lease_runs_out(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Those who followed at the lost one read the same, elsewhere, from their cursors on."""
    async with running_cores(processes, 2, store=redis_server.url) as (one, other):
        run_id = await one.start("counts", "100000 5")
        async with (
            reading(run_id, other.address) as there,
            reading(run_id, one.address, other.address) as moved,
        ):
            await asyncio.gather(there.more(50), moved.more(50))
            one.process.send(signal.SIGKILL)
            killed = time.monotonic()
            took_s = await end_of(there, killed)
            logger.info("told %.2f s after kill -9", took_s)
            assert took_s < PROVEN_S
            assert_lost(await moved.whole())
            assert moved.reading.events[-1] == there.reading.events[-1]
            assert moved.reading.text == there.reading.text
        assert steps(processes, run_id) == ["started"]
        assert (await other.run(run_id)).state == RUN_STATE_ENDED


@pytest.mark.needs("namespaces")
async def test_a_core_killed_in_another_container_is_known_by_its_lease(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Where nobody can see that the process is gone, the contract's 7 s hold."""
    store = redis_server.url
    async with (
        running_cores(processes, 1, store=store, through=CONTAINER) as (one,),
        running_cores(processes, 1, store=store) as (other,),
    ):
        run_id = await one.start("counts", "100000 5")
        async with reading(run_id, other.address) as there:
            await there.more(50)
            one.kill()
            took_s = await end_of(there, time.monotonic())
            logger.info("told %.2f s after kill -9", took_s)
            assert took_s < LOST_S + SLACK_S


async def test_a_run_of_a_dead_core_is_cancelled_and_ends_as_lost(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Stop is answered by any core, at once and repeatedly; the run ends once, and not as cancelled."""
    async with running_cores(processes, 2, store=redis_server.url) as (one, other):
        run_id = await one.start("slow")
        async with reading(run_id, other.address) as there:
            await there.more(5)
            one.process.send(signal.SIGKILL)
            asked = await other.cancel(run_id)
            assert asked.run_id == run_id
            assert_lost(await there.whole(LOST_S + SLACK_S))
            again = await other.cancel(run_id)
            assert (again.state, again.outcome.reason) == (RUN_STATE_ENDED, "UNAVAILABLE")
            assert await other.cancel(run_id) == again


async def test_one_of_two_killed_cores_closes_the_past_of_both(
    processes: Processes, redis_server: RedisServer
) -> None:
    """A client that follows on at the one that came back gets each run's end, in the contract's time."""
    async with AsyncExitStack() as stack:
        cores = await stack.enter_async_context(running_cores(processes, 2, store=redis_server.url))
        run_ids = [await core.start("counts", "100000 5") for core in cores]
        first = cores[0]
        readers = [
            await stack.enter_async_context(reading(run_id, core.address, first.address))
            for run_id, core in zip(run_ids, cores, strict=True)
        ]
        for reader in readers:
            await reader.more(30)
        for core in cores:
            core.kill()
        port = int(first.address.rpartition(":")[2])
        (back,) = await stack.enter_async_context(
            running_cores(processes, 1, port=port, store=redis_server.url)
        )
        since = time.monotonic()
        for reader, run_id in zip(readers, run_ids, strict=True):
            took_s = await end_of(reader, since)
            logger.info("told %.2f s after the start of the core that came back", took_s)
            assert took_s < LOST_S + SLACK_S
            assert (await back.run(run_id)).state == RUN_STATE_ENDED
            assert steps(processes, run_id) == ["started"]
