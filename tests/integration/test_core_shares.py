"""One principal who fills the log, and the others at the same core: real calls, real signatures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_core.agents import RunRequest
from tests.integration.test_core_limits import as_principal, refused
from tests.integration.test_core_stream import assert_dense
from tests.support.core import Core, events_of, rest_of, running_core, stream_request
from tests.support.redis_server import shared_redis
from tests.support.stores import STORE_PARAMETERS
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import Run, RunSpec

KEY = "k" * 32
WITHIN_S = 60.0
KIB = 1024
SHARE = 1024 * KIB
PIECES = 24
RUNS = 16
"""So many of the shortest ring, 64 KiB, fill a share; with whole rings they would fill the log."""

LIMITS = {
    "principal_key": KEY,
    "max_principal_runs": RUNS,
    "log_run_bytes": 256 * KIB,
    "log_total_bytes": 4 * SHARE,
}


async def fills(_: RunRequest) -> AsyncIterator[str]:
    """Fill the run's ring and more, and then wait for ever."""
    for number in range(PIECES):
        yield f"{number} ".ljust(16 * KIB, "x")
    await asyncio.get_running_loop().create_future()


def store_of(name: str, folder: Path) -> str:
    return {"memory": "memory", "sqlite": f"sqlite:{folder}/runs.db"}.get(name) or shared_redis().url


async def flood(core: Core, count: int) -> list[str]:
    """Let ann start so many runs that fill the log; return once each has said all."""
    started = [
        (await core.stub.StartRun(start_request("fills"), metadata=as_principal("ann"))).run.run_id
        for _ in range(count)
    ]
    async with asyncio.timeout(WITHIN_S):
        for run_id in started:
            while (await run_of(core, "ann", run_id)).last.sequence <= PIECES:
                await asyncio.sleep(0.02)
    return started


def start_request(agent: str) -> pb.StartRunRequest:
    return pb.StartRunRequest(run=RunSpec(agent=agent, message="hi", on_disconnect="ON_DISCONNECT_CONTINUE"))


async def run_of(core: Core, owner: str, run_id: str) -> Run:
    request = pb.GetRunRequest(run_id=run_id)
    return (await core.stub.GetRun(request, metadata=as_principal(owner))).run


async def ask(core: Core, owner: str) -> list[Event]:
    """Run a short answer to its end, and return its events."""
    call = core.stub.StreamRun(stream_request("echo", "word " * 40), metadata=as_principal(owner))
    return events_of(await rest_of(call))


async def follow(core: Core, owner: str, run_id: str) -> list[Event]:
    call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=as_principal(owner))
    return events_of(await rest_of(call))


@pytest.mark.parametrize("store", STORE_PARAMETERS)
async def test_who_fills_the_log_locks_nobody_out(store: str, tmp_path: Path) -> None:
    """She has all the runs that she may, each beyond its ring: others start, and lose nothing they had."""
    where = {"store": store_of(store, tmp_path), "redis_prefix": f"t{tmp_path.name}"}
    agents = f"fills={__name__}:fills echo=tests.support.agents:echo"
    async with running_core(agent=agents, **LIMITS, **where) as core:
        before = await ask(core, "bob")
        floods = await flood(core, RUNS)
        one_more = core.stub.StartRun(start_request("fills"), metadata=as_principal("ann"))
        assert (await refused(one_more))[0] == "PRINCIPAL_RUNS_LIMIT"
        now = await ask(core, "bob")
        for events in (before, now):
            assert_dense(events)
            assert events[-1].HasField("done")
            again = await follow(core, "bob", events[0].run_started.run_id)
            assert_dense(again)
            assert [event.text_delta for event in again] == [event.text_delta for event in events]
        kept = [await run_of(core, "ann", run_id) for run_id in floods]
        pieces = [run.last.sequence - run.first.sequence + 1 for run in kept]
        assert sum(pieces) * 16 * KIB <= SHARE
        assert min(pieces) >= 3
        for run_id in floods:
            await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=as_principal("ann"))


async def test_a_principal_whose_runs_need_all_her_share_is_refused_alone() -> None:
    """With a reason of its own, until one of her runs has ended."""
    agents = f"fills={__name__}:fills echo=tests.support.agents:echo"
    async with running_core(agent=agents, **LIMITS | {"max_principal_runs": 0}) as core:
        floods = await flood(core, RUNS)
        call = core.stub.StartRun(start_request("fills"), metadata=as_principal("ann"))
        reason, metadata, retry_s = await refused(call)
        assert (reason, metadata) == ("PRINCIPAL_LOG_FULL", {"limit": "log_principal_bytes"})
        assert retry_s > 0
        assert (await ask(core, "bob"))[-1].HasField("done")
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=floods[0]), metadata=as_principal("ann"))
        await core.stub.StartRun(start_request("fills"), metadata=as_principal("ann"))
