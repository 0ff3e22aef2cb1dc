"""One stream on a real socket, of a run that the test tells: our own server, or another one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import uvicorn
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, SpanContext
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge.errors import EdgeError
from edge.http.connection import StreamProtocol
from edge.http.connection_limits import ConnectionLimits
from edge.http.drain import Drain
from edge.http.event_stream import EventStream
from edge.http.idle import IdleConnections
from edge.http.limits import LimitPolicy, Limits
from edge.http.stream_policy import StreamPolicy
from edge.http.stream_slot import StreamSlot
from edge.sse.dialects import NativeDialect
from edge.telemetry.stream_recorder import StreamRecorder, TokenTelemetry
from edge.upstream import Leave, RunSink
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.v1 import event_pb2

RUN_ID: Final = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
CLOCK: Final = SenderClock(0, 0, 0, 0)
REQUEST: Final = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


class ScriptedRun:
    """A run whose events the test tells, as an upstream would. Implements `RunCall`."""

    def __init__(self) -> None:
        self.sink: RunSink | None = None
        self.left: list[Leave] = []
        """Why it was closed; empty before."""
        self.resumed = 0
        """How often it was told that there is room again."""
        self.sequence = 0
        self.started = asyncio.Event()

    @property
    def is_silent(self) -> bool:
        """Whether nothing can come."""
        return False

    @property
    def span_context(self) -> SpanContext:
        """Of no span."""
        return INVALID_SPAN_CONTEXT

    def start(self, sink: RunSink) -> None:
        """Take who is told."""
        self.sink = sink
        self.started.set()

    def resume(self) -> None:
        """Count it."""
        self.resumed += 1

    def close(self, reason: Leave) -> None:
        """Note why, and tell nothing more. A repetition does nothing."""
        if not self.left:
            self.left.append(reason)
        self.sink = None

    def tell(self, *events: event_pb2.Event) -> None:
        """Tell some events as one message; nothing once it was closed."""
        if self.sink is None:
            return
        if not self.sequence:
            self.sink.begin(RUN_ID)
        self.sink.arrived(CLOCK, monotonic_nano(), sum(event.ByteSize() for event in events))
        for event in events:
            self.sequence += 1
            if self.sink is not None:
                self.sink.event(1, self.sequence, event)
        if self.sink is not None:
            self.sink.flush()

    def text(self, content: str = "x") -> None:
        """Tell one delta."""
        self.tell(event_pb2.Event(text_delta=event_pb2.TextDelta(content=content)))

    def done(self) -> None:
        """Tell the run's end."""
        self.tell(event_pb2.Event(done=event_pb2.Done(final_message="all")))

    def end(self, failure: EdgeError | None = None) -> None:
        """Say that nothing more comes."""
        if self.sink is not None:
            self.sink.end(failure)


class Served:
    """One server, and the streams that it has served.

    Args:
        policy: The pace of its streams.
        dialect: Makes their dialects.
        more: As for `EventStream`.
    """

    def __init__(
        self,
        policy: StreamPolicy | None = None,
        dialect: Callable[[], Any] = NativeDialect,
        streams: int = 0,
        **more: Any,
    ) -> None:
        self.drain = Drain()
        """Its switch."""
        self.limits = Limits(LimitPolicy(streams=streams), lambda: 0)
        """Its limits."""
        self.runs: asyncio.Queue[ScriptedRun] = asyncio.Queue()
        """The run of each stream that was begun."""
        self.streams: list[EventStream] = []
        """All streams."""
        self.port = 0
        self._policy = policy or StreamPolicy()
        self._dialect = dialect
        self._more = {"budget_bytes": 1 << 20, "merge": True, "live": True} | more
        self._telemetry = TokenTelemetry(TelemetrySettings(), ClockBook(1))

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a stream, whatever is asked."""
        recorder = StreamRecorder(self._telemetry, INVALID_SPAN, began_nano=monotonic_nano(), starts=True)
        stream = EventStream(
            self._open,
            self._dialect(),
            recorder,
            slot=StreamSlot(self.limits, starts=True),
            policy=self._policy,
            drain=self.drain,
            **self._more,
        )
        self.streams.append(stream)
        await stream(scope, receive, send)

    def _open(self) -> ScriptedRun:
        run = ScriptedRun()
        self.runs.put_nowait(run)
        return run

    async def ask(self, request: bytes = REQUEST) -> socket.socket:
        """Return a client that has asked for a stream."""
        client = socket.create_connection(("127.0.0.1", self.port))
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, request)
        return client

    async def connect(self, request: bytes = REQUEST) -> tuple[socket.socket, ScriptedRun]:
        """Return a client that has asked for a stream, and the run that it is to be told of."""
        client = await self.ask(request)
        async with asyncio.timeout(10):
            run = await self.runs.get()
            await run.started.wait()
        return client, run


@asynccontextmanager
async def serving(served: Served, *, own: bool = True) -> AsyncIterator[Served]:
    """Serve on a port of its own.

    Args:
        served: What is served.
        own: By our own protocol, else by uvicorn's, which knows no extension.
    """
    limits = ConnectionLimits(65_536, 65_536, 15, 75, IdleConnections(10_000))
    config = uvicorn.Config(served.app, interface="asgi3", lifespan="off", log_config=None)
    config.load()
    made = partial(StreamProtocol, limits=limits) if own else HttpToolsProtocol
    make = partial(made, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    async with server:
        yield served


async def read_until(client: socket.socket, end: bytes) -> bytes:
    """Return what a client is sent, up to a text.

    Args:
        client: Who reads.
        end: The text.
    """
    seen = b""
    async with asyncio.timeout(10):
        while end not in seen:
            piece = await asyncio.get_running_loop().sock_recv(client, 65_536)
            if not piece:
                raise EOFError(seen)
            seen += piece
    return seen
