"""The naive bridge: one grpc.aio call per browser, and Litestar's ServerSentEvent.

    PEER_CORE=127.0.0.1:50051 python -m uvicorn bench.peers.naive:app --port 8001

What one writes first, with no thought for reconnection, limits, slow clients or traces.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import grpc.aio
import msgspec
from litestar import Litestar, get, post
from litestar.response import ServerSentEvent, ServerSentEventMessage

from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import agent_service_pb2_grpc as rpc
from tokenwire.v1 import event_pb2, run_pb2


class Chat(msgspec.Struct, rename="camel"):
    """What the browser asks."""

    message: str
    session_id: str = ""
    agent: str = ""


class RunStarted(msgspec.Struct, tag="run_started", tag_field="type"):
    """The first event."""

    timestamp: float


class TextDelta(msgspec.Struct, tag="text_delta", tag_field="type"):
    """A piece of the answer."""

    timestamp: float
    content: str


class Done(msgspec.Struct, tag="done", tag_field="type"):
    """The end of an answer."""

    timestamp: float


class Failed(msgspec.Struct, tag="error", tag_field="type"):
    """The end of an answer that failed."""

    timestamp: float
    message: str


def translate(event: event_pb2.Event) -> msgspec.Struct:
    """Return what the browser is told of an event."""
    stamp = event.create_time.seconds * 1000 + event.create_time.nanos // 100_000 / 10
    kind = event.WhichOneof("payload")
    if kind == "text_delta":
        return TextDelta(stamp, event.text_delta.content)
    if kind == "run_started":
        return RunStarted(stamp)
    return Failed(stamp, event.error.message) if kind == "error" else Done(stamp)


async def stream_run(stub: rpc.AgentServiceAsyncStub, chat: Chat) -> AsyncIterator[ServerSentEventMessage]:
    """Start a run and yield its events."""
    run = run_pb2.RunSpec(message=chat.message, session_id=chat.session_id, agent=chat.agent)
    async for response in stub.StreamRun(pb.StreamRunRequest(run=run)):
        for event in response.events:
            yield ServerSentEventMessage(
                data=msgspec.json.encode(translate(event)).decode(),
                id=f"{response.run_id}.{event.epoch}.{event.sequence}",
            )


async def connect(app: Litestar) -> None:
    """Open the channel in the loop that serves."""
    app.state.channel = grpc.aio.insecure_channel(os.environ["PEER_CORE"])
    app.state.stub = rpc.AgentServiceStub(app.state.channel)


async def disconnect(app: Litestar) -> None:
    """Close the channel."""
    await app.state.channel.close()


@get("/health/ready")
async def ready() -> str:
    """Answer that requests can be sent."""
    return "ok"


@post("/api/chat", status_code=200)
async def chat(data: Chat) -> ServerSentEvent:
    """Start a run and stream it."""
    return ServerSentEvent(stream_run(app.state.stub, data))


app = Litestar([ready, chat], on_startup=[connect], on_shutdown=[disconnect], openapi_config=None)
