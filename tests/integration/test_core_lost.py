"""A core on SQLite that is killed, and the one that comes after it: real processes on one file."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
import pytest

from tests.support.core import events_of, rest_of, stream_request
from tests.support.processes import Processes, Running
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, Cursor

WITHIN_S = 30


async def events_until_lost(call: grpc.aio.Call, core: Running, count: int) -> list[Event]:
    """Return what a client reads until its core is killed after some events."""
    events: list[Event] = []

    async def read() -> None:
        async for response in call:
            events.extend(response.events)
            if len(events) >= count and core.is_running():
                core.send(signal.SIGKILL)
                await asyncio.to_thread(core.wait)

    with pytest.raises(grpc.aio.AioRpcError) as lost:
        await read()
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
    return events


async def followed(stub: AgentServiceStub, run_id: str, after: Cursor | None = None) -> list[Event]:
    request = pb.FollowRunRequest(run_id=run_id, after=after)
    return events_of([response async for response in stub.FollowRun(request, timeout=WITHIN_S)])


async def test_a_killed_core_loses_the_run_and_none_of_its_events(
    processes: Processes, tmp_path: Path
) -> None:
    """What a client saw is there, in order, then one error; what had ended is complete; ids stay used."""
    settings = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, core = processes.core(agents=("slow", "scripted"), settings=settings)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AgentServiceStub(channel)
        request = stream_request("scripted", request_id="r1")
        ended = events_of([response async for response in stub.StreamRun(request, timeout=WITHIN_S)])
        seen = await events_until_lost(stub.StreamRun(stream_request("slow"), timeout=WITHIN_S), core, 8)
    run_id = seen[0].run_started.run_id

    address, _ = processes.core(agents=("slow", "scripted"), settings=settings)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AgentServiceStub(channel)
        whole = await followed(stub, run_id)
        assert whole[: len(seen)] == seen
        assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
        assert {event.epoch for event in whole[:-1]} == {1}
        last = whole[-1]
        assert (last.epoch, last.error.code, last.error.retryable) == (2, "UNAVAILABLE", True)
        assert last.error.message == "The process of the agent stopped before the answer was complete."
        assert last.error.details["reason"] == "PRODUCER_LOST"
        assert not any(event.HasField("done") or event.HasField("error") for event in whole[:-1])

        cursor = Cursor(epoch=1, sequence=seen[-1].sequence)
        assert await followed(stub, run_id, cursor) == whole[len(seen) :]
        run = (await stub.GetRun(pb.GetRunRequest(run_id=run_id))).run
        assert (run.state, run.last) == (RUN_STATE_ENDED, Cursor(epoch=2, sequence=last.sequence))

        assert await followed(stub, ended[0].run_started.run_id) == ended
        again = events_of([response async for response in stub.StreamRun(request, timeout=WITHIN_S)])
        assert again == ended


async def test_a_second_core_on_the_file_does_not_start(processes: Processes, tmp_path: Path) -> None:
    """It says who has it, and the first one does not notice."""
    settings = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}"}
    address, first = processes.core(agents=("scripted",), settings=settings)
    second = processes.start(
        "second",
        [sys.executable, "-m", "agent_core"],
        {**settings, "TOKENWIRE_GRPC_PORT": "0"},
    )
    assert await asyncio.to_thread(second.wait) == 1
    assert "is used by another core, process" in second.stderr
    assert "Traceback" not in second.stderr
    async with grpc.aio.insecure_channel(address) as channel:
        call = AgentServiceStub(channel).StreamRun(stream_request("scripted"), timeout=WITHIN_S)
        assert events_of([response async for response in call])[-1].HasField("done")
    assert first.is_running()


async def test_a_run_that_a_core_ends_in_order_is_not_lost(processes: Processes, tmp_path: Path) -> None:
    """SIGTERM writes its own end, which the next core finds."""
    settings = {"TOKENWIRE_STORE": f"sqlite:{tmp_path / 'runs.db'}", "TOKENWIRE_DRAIN_S": "0"}
    address, core = processes.core(agents=("slow",), settings=settings)
    async with grpc.aio.insecure_channel(address) as channel:
        call = AgentServiceStub(channel).StreamRun(stream_request("slow"), timeout=WITHIN_S)
        first = await call.read()
        core.send(signal.SIGTERM)
        seen = events_of([first, *await rest_of(call)])
    assert await asyncio.to_thread(core.wait) == 0
    assert seen[-1].error.details["reason"] == "CORE_SHUTDOWN"
    address, _ = processes.core(agents=("slow",), settings=settings)
    async with grpc.aio.insecure_channel(address) as channel:
        assert await followed(AgentServiceStub(channel), seen[0].run_started.run_id) == seen
