"""The limits of a core, as gRPC callers meet them."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from tests.support.agents import called
from tests.support.core import Core, events_of, refusal_of, rest_of, running_core, stream_request
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_TOOL_LIMIT
from tokenwire.v1.run_pb2 import RunSpec

KEY = "k" * 32
WITHIN_S = 20.0


def as_principal(name: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call on somebody's behalf, good for a minute."""
    return ((METADATA_KEY, sign_principal(name, KEY)),)


def start_request(agent: str = "silent", request_id: str = "") -> pb.StartRunRequest:
    return pb.StartRunRequest(run=RunSpec(agent=agent, message="hi", request_id=request_id))


async def refused(call: object) -> tuple[str, dict[str, str], float]:
    """Return a refusal's reason, its metadata and when to try again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    refusal = refusal_of(caught.value)
    assert refusal.code == "RESOURCE_EXHAUSTED"
    retry_s = refusal.retry.retry_delay.seconds + refusal.retry.retry_delay.nanos / 1e9
    return refusal.info.reason, dict(refusal.info.metadata), retry_s


async def until_free(core: Core) -> None:
    """Return when nothing is taken any more."""
    limiter = core.server.manager.limiter
    async with asyncio.timeout(WITHIN_S):
        while limiter.runs.in_use or limiter.follows.in_use:
            await asyncio.sleep(0.01)
    assert limiter.runs.principals == limiter.follows.principals == 0


async def test_each_principal_has_so_many_runs_and_gets_them_back() -> None:
    """Others are not concerned; a run that ended, however, makes room for another."""
    async with running_core(principal_key=KEY, max_principal_runs=2) as core:
        runs = [await core.stub.StartRun(start_request(), metadata=as_principal("ann")) for _ in range(2)]
        reason, metadata, retry_s = await refused(
            core.stub.StartRun(start_request(), metadata=as_principal("ann"))
        )
        assert (reason, metadata) == ("PRINCIPAL_RUNS_LIMIT", {"limit": "max_principal_runs", "most": "2"})
        assert retry_s > 0
        await core.stub.StartRun(start_request("echo"), metadata=as_principal("ben"))
        await core.stub.CancelRun(
            pb.CancelRunRequest(run_id=runs[0].run.run_id), metadata=as_principal("ann")
        )
        await core.stub.StartRun(start_request(), metadata=as_principal("ann"))


async def test_a_repeated_request_is_answered_at_the_limit_too() -> None:
    """It starts nothing: while its run goes on, and after that run's end, and however often."""
    limits = {"max_principal_runs": 1, "max_principal_starts_per_minute": 2}
    async with running_core(principal_key=KEY, **limits) as core:
        first = (await core.stub.StartRun(start_request("silent", "r1"), metadata=as_principal("ann"))).run
        for _ in range(5):
            again = await core.stub.StartRun(start_request("silent", "r1"), metadata=as_principal("ann"))
            assert again.run.run_id == first.run_id
        assert (
            await refused(core.stub.StartRun(start_request("silent", "r2"), metadata=as_principal("ann")))
        )[0] == ("PRINCIPAL_RUNS_LIMIT")
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=first.run_id), metadata=as_principal("ann"))
        await core.stub.StartRun(start_request("echo", "r3"), metadata=as_principal("ann"))
        for _ in range(5):
            again = await core.stub.StartRun(start_request("silent", "r1"), metadata=as_principal("ann"))
            assert again.run.run_id == first.run_id
        reason, _, retry_s = await refused(
            core.stub.StartRun(start_request("echo", "r4"), metadata=as_principal("ann"))
        )
        assert reason == "START_RATE_LIMIT"
        assert 0 < retry_s <= 30
        await until_free(core)


async def test_the_limit_for_all_holds_for_those_whom_nobody_knows_too() -> None:
    """The limits for each principal do not: without a key all are one."""
    limits = {"max_runs": 3, "max_principal_runs": 1, "max_principal_starts_per_minute": 1}
    async with running_core(**limits) as core:
        runs = [await core.start("silent") for _ in range(3)]
        reason, metadata, _ = await refused(core.stub.StartRun(start_request()))
        assert (reason, metadata["limit"]) == ("RUNS_LIMIT", "max_runs")
        for run_id in runs:
            await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        await until_free(core)


async def test_streams_are_counted_and_given_back_however_they_end() -> None:
    """Read to the end, cancelled before and after the first answer, refused for another reason."""
    async with running_core(principal_key=KEY, max_principal_follows=1, max_follows=2) as core:
        run_id = (await core.stub.StartRun(start_request("slow"), metadata=as_principal("ann"))).run.run_id
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=as_principal("ann"))
        await call.read()
        more = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=as_principal("ann"))
        assert (await refused(more.read()))[0] == "PRINCIPAL_FOLLOWS_LIMIT"
        calls = [
            core.stub.StreamRun(stream_request("silent"), metadata=as_principal(who))
            for who in ("ben", "ann")
        ]
        await calls[0].read()
        assert (await refused(calls[1].read()))[0] == "PRINCIPAL_FOLLOWS_LIMIT"
        third = core.stub.StreamRun(stream_request("silent"), metadata=as_principal("eve"))
        assert (await refused(third.read()))[0] == "FOLLOWS_LIMIT"
        assert len(core.server.manager.registry) == 2, "a stream that can't be followed starts no run"
        for open_call in (call, calls[0]):
            open_call.cancel()
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=as_principal("ann"))
        await until_free(core)
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await core.stub.FollowRun(
                    pb.FollowRunRequest(run_id="0" * 30), metadata=as_principal("ann")
                ).read()
            assert caught.value.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS}
            call = core.stub.StreamRun(stream_request("echo"), metadata=as_principal("ann"))
            assert events_of(await rest_of(call))[-1].HasField("done")
        await until_free(core)


async def test_many_who_leave_at_once_leave_nothing_behind() -> None:
    """At any moment of a stream's life, and of a start's."""
    async with running_core(principal_key=KEY, disconnect_grace_s=0) as core:
        for round_number in range(4):
            calls = [
                core.stub.StreamRun(stream_request("slow"), metadata=as_principal(f"p{number % 5}"))
                for number in range(40)
            ]
            starts = [core.stub.StartRun(start_request(), metadata=as_principal("ben")) for _ in range(10)]
            await asyncio.sleep(0.005 * round_number)
            for call in (*calls, *starts):
                call.cancel()
            await asyncio.gather(*(call.code() for call in (*calls, *starts)))
        await until_free(core)


async def test_a_run_that_wants_too_many_tool_calls_ends_as_tool_limit() -> None:
    """The call beyond is neither told nor made; the text so far stands."""
    async with running_core(max_run_tool_calls=3) as core:
        events = await core.events("tools")
    done = events[-1].done
    assert done.finish_reason == FINISH_REASON_TOOL_LIMIT
    assert done.final_message == "word0 word1 word2 word3 "
    assert sum(event.HasField("tool_start") for event in events) == 3
    assert len(called[events[0].run_started.run_id]) == 3


acted: list[int] = []


def act(number: int) -> int:
    """Do something."""
    acted.append(number)
    return number


pydantic = Agent(TestModel(call_tools=["act", "act_too", "act_again"]))
for name in ("act", "act_too", "act_again"):
    pydantic.tool_plain(act, name=name)


async def test_the_limit_holds_for_pydantic_ai_agents_too() -> None:
    """Also for calls that their model wants at once: no more are made than the run may have."""
    acted.clear()
    async with running_core(
        agent="p=tests.integration.test_core_limits:pydantic", max_run_tool_calls=2
    ) as core:
        events = await core.events("p")
    assert events[-1].done.finish_reason == FINISH_REASON_TOOL_LIMIT
    assert sum(event.HasField("tool_start") for event in events) == 2
    assert len(acted) <= 2
