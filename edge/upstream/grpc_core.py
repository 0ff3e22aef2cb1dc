"""The core over gRPC: one call per stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import grpc
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge.telemetry import client_span
from edge.upstream.contract import Caller, RunCall
from edge.upstream.status import upstream_error
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2, agent_service_pb2_grpc, run_pb2

CHANNEL_OPTIONS: Final = (
    # A core that comes back is found within a second: the default back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A core that is gone without a word is noticed within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Backlogs come in messages of up to 1 MiB, and one event may be larger.
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
)
UNARY_TIMEOUT_S: Final = 10.0
"""How long a core may take to answer a unary call."""

READY_TIMEOUT_S: Final = 2.0
"""How long a core may take to say that it is ready."""

_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"
"""HealthCheckResponse{status: SERVING}, encoded."""

_StreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"

_propagator: Final = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("tokenwire.edge")


class GrpcRunCall:
    """A streaming call and its CLIENT span.

    Args:
        call: The call, started.
        span: Its span, ended here.
    """

    def __init__(self, call: _StreamCall, span: trace.Span) -> None:
        self._call = call
        self._span = span

    async def read(self) -> bytes | None:
        """Return the next encoded message, or None after the last one."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self._end_span(error.code().name)
            raise upstream_error(error) from error
        except asyncio.CancelledError:
            self.cancel()
            raise
        if message is grpc.aio.EOF:
            self._end_span("OK")
            return None
        return cast(bytes, message)

    def cancel(self) -> None:
        """End the call at once."""
        # Since grpcio 1.83 an abandoned call is neither collected nor cancelled by itself.
        self._call.cancel()
        self._end_span("CANCELLED")

    def _end_span(self, code: str) -> None:
        if self._span.is_recording():
            client_span.set_rpc_outcome(self._span, code)
            self._span.end()


@dataclass(frozen=True, slots=True)
class CoreAddress:
    """Where a core is, and how it is spoken to."""

    target: str
    """HOST:PORT."""
    principal_key: str = field(default="", repr=False)
    """Signs on whose behalf calls are made; empty to say nothing."""
    tls_ca: bytes | None = None
    """PEM of the authorities that the core's certificate is checked against; None for no TLS."""
    tls_cert: bytes | None = None
    """PEM of the certificate that the edge shows (mTLS); None for none."""
    tls_key: bytes | None = field(default=None, repr=False)
    """PEM of its key."""


class GrpcUpstream:
    """One core, over one channel. Made inside the event loop that uses it.

    Args:
        core: Where the core is.
    """

    def __init__(self, core: CoreAddress) -> None:
        self._principal_key = core.principal_key
        self._channel = _channel(core)
        self._stub: agent_service_pb2_grpc.AgentServiceAsyncStub = agent_service_pb2_grpc.AgentServiceStub(
            self._channel
        )
        # Streamed responses stay encoded: the wire core takes bytes.
        self._stream_run: Any = self._channel.unary_stream(
            f"/{client_span.SERVICE}/StreamRun",
            request_serializer=agent_service_pb2.StreamRunRequest.SerializeToString,
        )
        self._follow_run: Any = self._channel.unary_stream(
            f"/{client_span.SERVICE}/FollowRun",
            request_serializer=agent_service_pb2.FollowRunRequest.SerializeToString,
        )
        self._health: Any = self._channel.unary_unary(_HEALTH)
        self._host, _, self._port = core.target.rpartition(":")

    async def close(self) -> None:
        """Close the channel; calls that are still open end as cancelled."""
        await self._channel.close()

    def stream_run(self, run: run_pb2.RunSpec, caller: Caller) -> RunCall:
        """Return the call that starts a run and streams its events."""
        span, metadata = self._start_span("StreamRun", caller)
        request = agent_service_pb2.StreamRunRequest(run=run, relay=True)
        return GrpcRunCall(self._stream_run(request, metadata=metadata), span)

    def follow_run(self, run_id: str, after: run_pb2.Cursor, caller: Caller) -> RunCall:
        """Return the call that streams a run's events after a cursor."""
        span, metadata = self._start_span("FollowRun", caller)
        request = agent_service_pb2.FollowRunRequest(run_id=run_id, after=after, relay=True)
        return GrpcRunCall(self._follow_run(request, metadata=metadata), span)

    async def start_run(self, run: run_pb2.RunSpec, caller: Caller) -> run_pb2.Run:
        """Start a run without following it and return its state."""
        request = agent_service_pb2.StartRunRequest(run=run)
        response = await self._unary("StartRun", self._stub.StartRun, request, caller)
        return response.run  # type: ignore[no-any-return]

    async def get_run(self, run_id: str, caller: Caller) -> run_pb2.Run:
        """Return a run's state."""
        request = agent_service_pb2.GetRunRequest(run_id=run_id)
        response = await self._unary("GetRun", self._stub.GetRun, request, caller)
        return response.run  # type: ignore[no-any-return]

    async def cancel_run(
        self, run_id: str, cause: agent_service_pb2.CancelCause.ValueType, caller: Caller
    ) -> run_pb2.Run:
        """Cancel a run and return the state that came of it."""
        request = agent_service_pb2.CancelRunRequest(run_id=run_id, cause=cause)
        response = await self._unary("CancelRun", self._stub.CancelRun, request, caller)
        return response.run  # type: ignore[no-any-return]

    async def ready(self) -> bool:
        """Return whether the core's health service says SERVING."""
        try:
            answer = await self._health(b"", timeout=READY_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False  # not ready is the answer, whatever the reason
        return bool(answer == _SERVING)

    async def _unary(self, method: str, stub: Any, request: Any, caller: Caller) -> Any:
        span, metadata = self._start_span(method, caller)
        code = "CANCELLED"
        try:
            response = await stub(request, metadata=metadata, timeout=UNARY_TIMEOUT_S)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            raise upstream_error(error) from error
        else:
            return response
        finally:
            client_span.set_rpc_outcome(span, code)
            span.end()

    def _start_span(self, method: str, caller: Caller) -> tuple[trace.Span, tuple[tuple[str, str], ...]]:
        """Return a call's CLIENT span and the metadata that carries its context to the core."""
        span = _tracer.start_span(
            f"{client_span.SERVICE}/{method}",
            context=caller.context,
            kind=trace.SpanKind.CLIENT,
            attributes=client_span.rpc_client(method, self._host, self._port),
        )
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(span, caller.context))
        if self._principal_key:
            carrier[METADATA_KEY] = sign_principal(caller.principal, self._principal_key)
        return span, tuple(carrier.items())


def _channel(core: CoreAddress) -> grpc.aio.Channel:
    """Return the channel to a core: with TLS when there is an authority to check it against."""
    if core.tls_ca is None:
        return grpc.aio.insecure_channel(core.target, options=CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(core.tls_ca, core.tls_key, core.tls_cert)
    return grpc.aio.secure_channel(core.target, credentials, options=CHANNEL_OPTIONS)
