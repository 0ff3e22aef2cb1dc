"""One core, over one gRPC channel: its rpcs, and their CLIENT spans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge.telemetry import client_span
from edge.telemetry.client_span import Attempt, StreamSpan, Transport
from edge.upstream.call import StreamCall
from edge.upstream.contract import Caller
from edge.upstream.link import LinkCall
from edge.upstream.status import upstream_error
from tokenwire.addresses import channel_options, split_target
from tokenwire.cursor import Cursor
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.telemetry import tracer
from tokenwire.telemetry.traceparent import unsampled
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import agent_service_pb2_grpc, run_pb2
from tokenwire.v1.link_pb2 import LinkCaller, LinkRequest

CHANNEL_OPTIONS: Final = (
    # A core that comes back is found within a second: the default back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A core whose packets are lost is noticed within 15 s. Where its kernel, or a proxy, still acknowledges,
    # it may only hang: gRPC waits for the answer to a ping for 60 s (grpc.http2.ping_timeout_ms).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Backlogs come in messages of up to 1 MiB, and one event may be larger.
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
)
UNARY_TIMEOUT_S: Final = 10.0
"""How long a core may take to answer a unary call."""

START_TIMEOUT_S: Final = 60.0
"""How long it may take to start a run: an agent may have to be loaded first. A core that hangs is told from a
slow one by `GetCore`, and is given up much sooner."""

EDGE_PRINCIPAL: Final = "edge"
"""On whose behalf the edge asks a core about itself."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_propagator: Final = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class CoreSecurity:
    """How cores are spoken to."""

    principal_key: str = field(default="", repr=False)
    """Signs on whose behalf calls are made; empty to say nothing."""
    tls_ca: bytes | None = None
    """PEM of the authorities that a core's certificate is checked against; None for no TLS."""
    tls_cert: bytes | None = None
    """PEM of the certificate that the edge shows (mTLS); None for none."""
    tls_key: bytes | None = field(default=None, repr=False)
    """PEM of its key."""


class Core:
    """One core. Made inside the event loop that uses it.

    Args:
        target: From `tokenwire.addresses.read_target`.
        security: How it is spoken to.
        clocks: Learns how far its clock is apart from ours, where it is on another machine.
    """

    def __init__(self, target: str, security: CoreSecurity, clocks: ClockBook) -> None:
        self.target = target
        """HOST:PORT, or `unix:PATH`."""
        self.host, self.port = split_target(target)
        self._clocks = clocks
        self._principal_key = security.principal_key
        self._channel = _channel(target, security)
        self._stub: agent_service_pb2_grpc.AgentServiceAsyncStub = agent_service_pb2_grpc.AgentServiceStub(
            self._channel
        )
        # Streamed responses come encoded: whoever reads them knows when they came.
        self._stream_run: Any = self._channel.unary_stream(
            f"/{client_span.SERVICE}/StreamRun", request_serializer=pb.StreamRunRequest.SerializeToString
        )
        self._follow_run: Any = self._channel.unary_stream(
            f"/{client_span.SERVICE}/FollowRun", request_serializer=pb.FollowRunRequest.SerializeToString
        )
        self._link: Any = self._channel.stream_stream(
            f"/{client_span.SERVICE}/Link", request_serializer=LinkRequest.SerializeToString
        )

    async def close(self) -> None:
        """Close the channel; calls that are still open end as cancelled."""
        await self._channel.close()

    def stream_run(self, run: run_pb2.RunSpec, metadata: Metadata) -> StreamCall:
        """Return the call that starts a run and streams it."""
        request = pb.StreamRunRequest(run=run, relay=True)
        call: StreamCall = self._stream_run(request, metadata=metadata)
        return call

    def follow_run(self, run_id: str, after: Cursor, metadata: Metadata) -> StreamCall:
        """Return the call that streams a run after a cursor."""
        cursor = run_pb2.Cursor(epoch=after.epoch, sequence=after.sequence)
        request = pb.FollowRunRequest(run_id=run_id, after=cursor, relay=True)
        call: StreamCall = self._follow_run(request, metadata=metadata)
        return call

    def open_link(self) -> LinkCall:
        """Return the call that is the edge's link to it."""
        call: LinkCall = self._link(metadata=self.metadata({}, EDGE_PRINCIPAL))
        return call

    def stream_span(
        self, method: str, caller: Caller, transport: Transport, attempt: Attempt = Attempt.FIRST
    ) -> tuple[StreamSpan, dict[str, str]]:
        """Return the CLIENT span of a start or a follow, and what carries its context to the core.

        Args:
            method: `StreamRun` or `FollowRun`.
            caller: On whose behalf.
            transport: What carries it.
            attempt: Whether it is one of several of a reconnect.
        """
        span, carrier = self._start_span(method, caller, transport, is_seen=attempt is not Attempt.UNSEEN)
        return StreamSpan(span, attempt), carrier

    def principal_token(self, principal: str) -> str:
        """Return the proof of on whose behalf a call is made; empty if there is no key to sign it with."""
        return sign_principal(principal, self._principal_key) if self._principal_key else ""

    def link_caller(self, carrier: Mapping[str, str], principal: str) -> LinkCaller:
        """Return what stands for the metadata of a call on a link.

        Args:
            carrier: The context of its span.
            principal: On whose behalf it is made.
        """
        return LinkCaller(
            principal_token=self.principal_token(principal),
            traceparent=carrier.get("traceparent", ""),
            tracestate=carrier.get("tracestate", ""),
        )

    def metadata(self, carrier: Mapping[str, str], principal: str) -> Metadata:
        """Return the metadata of a call.

        Args:
            carrier: The context of its span.
            principal: On whose behalf it is made.
        """
        token = self.principal_token(principal)
        return (*carrier.items(), (METADATA_KEY, token)) if token else tuple(carrier.items())

    async def unary(self, method: str, request: Any, caller: Caller) -> Any:
        """Return the answer to a unary call.

        Args:
            method: The rpc's bare name.
            request: Its message.
            caller: On whose behalf.

        Raises:
            UpstreamError: The core refuses, or can't be reached.
        """
        span, carrier = self._start_span(method, caller)
        metadata = self.metadata(carrier, caller.principal)
        code = "CANCELLED"
        timeout_s = START_TIMEOUT_S if method == "StartRun" else UNARY_TIMEOUT_S
        try:
            response = await getattr(self._stub, method)(request, metadata=metadata, timeout=timeout_s)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise upstream_error(error) from error
        else:
            return response
        finally:
            client_span.set_rpc_outcome(span, code)
            span.end()

    async def describe(self, timeout_s: float) -> pb.Core | None:
        """Return what the core tells of itself; None when it does not answer. Not traced: asked all the time.

        Args:
            timeout_s: How long it may take.
        """
        metadata = self.metadata({}, EDGE_PRINCIPAL)
        asked = time.time_ns()
        try:
            answer = await self._stub.GetCore(pb.GetCoreRequest(), metadata=metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                upstream_error(error)  # It tells the operator.
            return None
        clock = answer.clock
        self._clocks.exchanged(clock.id, asked, clock.send_unix_nano, time.time_ns())
        core: pb.Core = answer.core
        return core

    async def refuses_connections(self, timeout_s: float) -> bool:
        """Return whether nobody listens at the core's address: proof that its process is gone.

        Args:
            timeout_s: How long a connection may take; then there is no proof.
        """
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await self._connect()
        except ConnectionRefusedError:
            return True
        except OSError:  # TimeoutError is one.
            return False
        writer.close()
        with suppress(OSError):  # it was reset meanwhile
            await writer.wait_closed()
        return False

    def _connect(self) -> Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if self.port is None:
            return asyncio.open_unix_connection(self.host)
        return asyncio.open_connection(self.host, self.port)

    def _start_span(
        self, method: str, caller: Caller, transport: Transport | None = None, *, is_seen: bool = True
    ) -> tuple[trace.Span, dict[str, str]]:
        """Return a call's CLIENT span and what carries its context to the core.

        Args:
            method: The rpc's bare name.
            caller: On whose behalf.
            transport: What carries the run that it streams; None if it streams none.
            is_seen: Whether the core traces the call where the request is sampled.
        """
        span = tracer().start_span(
            f"{client_span.SERVICE}/{method}",
            context=caller.context,
            kind=trace.SpanKind.CLIENT,
            attributes=client_span.rpc_client(method, self.host, self.port, transport),
        )
        carrier: dict[str, str] = {}
        told = span if is_seen else trace.NonRecordingSpan(unsampled(span.get_span_context()))
        _propagator.inject(carrier, trace.set_span_in_context(told, caller.context))
        return span, carrier


def _channel(target: str, security: CoreSecurity) -> grpc.aio.Channel:
    """Return the channel to a core: with TLS when there is an authority to check it against."""
    options = (*CHANNEL_OPTIONS, *channel_options(target))
    if security.tls_ca is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(security.tls_ca, security.tls_key, security.tls_cert)
    return grpc.aio.secure_channel(target, credentials, options=options)
