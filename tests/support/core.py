"""A real core on a loopback port, in the test's own event loop, and a real channel to it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from agent_core.server import CoreServer
from agent_core.settings import Settings
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import Run, RunSpec

StreamedResponse: TypeAlias = pb.StreamRunResponse | pb.FollowRunResponse

AGENTS = [
    "scripted",
    "slow",
    "silent",
    "echo",
    "halves",
    "recalls",
    "hurries",
    "flood",
    "tools",
    "raises_before",
    "raises_after",
    "refuses",
    "says_nothing",
    "yields_rubbish",
    "no_generator",
    "no_iterator",
    "cancels_itself",
    "exits",
    "raises_when_cancelled",
    "swallows_cancel",
    "stuck",
    "resource",
    "counts",
]


@dataclass
class Core:
    """A running core, as a client sees it and from inside."""

    server: CoreServer
    channel: grpc.aio.Channel
    stub: AgentServiceStub

    async def events(self, agent: str, message: str = "List three fruits.", **spec: object) -> list[Event]:
        """Run an agent through StreamRun and return its events."""
        call = self.stub.StreamRun(stream_request(agent, message, **spec))
        return [event async for response in call for event in response.events]

    async def run(self, run_id: str) -> Run:
        """Return a run's state."""
        return (await self.stub.GetRun(pb.GetRunRequest(run_id=run_id))).run

    async def start(self, agent: str, message: str = "Hello", **spec: object) -> str:
        """Start a run through StartRun and return its id."""
        request = pb.StartRunRequest(run=RunSpec(agent=agent, message=message, **spec))
        return (await self.stub.StartRun(request)).run.run_id

    async def follow(self, run_id: str, sequence: int = 0) -> list[pb.FollowRunResponse]:
        """Follow a run to its end and return the responses."""
        request = pb.FollowRunRequest(run_id=run_id)
        request.after.sequence = sequence
        return [response async for response in self.stub.FollowRun(request)]


def stream_request(
    agent: str, message: str = "Hello", *, relay: bool = False, **spec: object
) -> pb.StreamRunRequest:
    return pb.StreamRunRequest(run=RunSpec(agent=agent, message=message, **spec), relay=relay)


@asynccontextmanager
async def running_core(**settings: object) -> AsyncIterator[Core]:
    """Serve a core with the scripted agents, and stop it in order."""
    given = {
        "grpc_port": 0,
        "agent": " ".join(f"{name}=tests.support.agents:{name}" for name in AGENTS),
        "stop_grace_s": 0.2,
        "drain_s": 0.0,
        **settings,
    }
    server = CoreServer(Settings(**given))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Core(server, channel, AgentServiceStub(channel))
    finally:
        await server.stop()


async def rest_of(call: Any) -> list[StreamedResponse]:
    """Return the responses that a call still gives, when some were taken with `read()` already."""
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


def events_of(responses: Iterable[StreamedResponse]) -> list[Event]:
    """Return the events that responses hold."""
    return [event for response in responses for event in response.events]


@dataclass
class Refusal:
    """What a refused call says."""

    code: str
    message: str
    info: error_details_pb2.ErrorInfo
    bad_request: error_details_pb2.BadRequest
    retry: error_details_pb2.RetryInfo
    request: error_details_pb2.RequestInfo


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what a refused call says, as the standard library for it reads it."""
    status = rpc_status.from_call(error)
    refusal = Refusal(
        error.code().name,
        status.message,
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.RequestInfo(),
    )
    known = (refusal.info, refusal.bad_request, refusal.retry, refusal.request)
    for packed in status.details:
        assert any(packed.Unpack(into) for into in known), packed
    assert refusal.info.domain == "tokenwire"
    return refusal
