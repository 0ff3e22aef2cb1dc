"""Going down in order."""

import asyncio
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.test_core_stream import assert_dense
from tests.support import agents
from tests.support.core import events_of, refusal_of, rest_of, running_core, stream_request
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_STOP


async def test_a_draining_core_lets_runs_end_and_starts_none() -> None:
    """Followers are told once; health says no; followers that come now are told too."""
    async with running_core(drain_s=20.0) as core:
        call = core.stub.StreamRun(stream_request("scripted"))
        first = await call.read()
        stopping = asyncio.create_task(core.server.stop())
        await asyncio.sleep(0.01)
        health = health_pb2_grpc.HealthStub(core.channel)
        status = (await health.Check(health_pb2.HealthCheckRequest())).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await core.events("scripted")
        refusal = refusal_of(raised.value)
        assert (refusal.code, refusal.info.reason) == ("UNAVAILABLE", "CORE_DRAINING")
        assert refusal.retry.retry_delay.seconds == 1
        followed = await core.follow(first.run_id)
        responses = [first, *await rest_of(call)]
        await stopping
    for stream in (followed, responses):
        draining = [response.control for response in stream if response.HasField("control")]
        assert [control.WhichOneof("control") for control in draining if control.HasField("draining")] == [
            "draining"
        ]
        events = events_of(stream)
        assert_dense(events)
        assert events[-1].done.finish_reason == FINISH_REASON_STOP


async def test_runs_that_do_not_end_in_time_end_in_unavailable() -> None:
    """A terminal event of their own, retryable; the agents are stopped."""
    async with running_core(drain_s=0.2) as core:
        call = core.stub.StreamRun(stream_request("slow"))
        first = await call.read()
        await core.server.stop()
        events = events_of([first, *await rest_of(call)])
    assert_dense(events)
    error = events[-1].error
    assert (error.code, error.retryable) == ("UNAVAILABLE", True)
    assert error.details["reason"] == "CORE_SHUTDOWN"


async def test_a_hurry_cuts_the_drain_short() -> None:
    """The second Ctrl-C."""
    async with running_core(drain_s=60.0) as core:
        await core.start("slow")
        hurry = asyncio.Event()
        began = time.monotonic()
        stopping = asyncio.create_task(core.server.stop(hurry))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        hurry.set()
        await asyncio.wait_for(stopping, 10)
        assert time.monotonic() - began < 10


async def test_an_agent_that_does_not_stop_does_not_stop_the_core(caplog: pytest.LogCaptureFixture) -> None:
    """It is given up in bounded time, and said."""
    agents.release.clear()
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("stuck"))
        first = await call.read()
        await asyncio.wait_for(core.server.stop(), 10)
        events = events_of([first, *await rest_of(call)])
        assert events[-1].error.details["reason"] == "CORE_SHUTDOWN"
        (stray,) = core.server.manager.unstopped_agents
        agents.release.set()
        await asyncio.wait({stray}, timeout=5)
    assert "agents did not stop" in caplog.text


async def test_an_idle_core_stops_at_once() -> None:
    """A drain time is a limit, not a wait."""
    began = time.monotonic()
    async with running_core(drain_s=60.0) as core:
        await core.events("says_nothing")
        assert (
            await core.stub.StartRun(pb.StartRunRequest(run={"message": "x", "agent": "echo"}))
        ).run.run_id
    assert time.monotonic() - began < 10
