"""One core: its rpcs, over one connection at a time, and their CLIENT spans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

import grpc
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge.telemetry import client_span
from edge.telemetry.client_span import Attempt, StreamSpan, Transport
from edge.upstream.call import StreamCall
from edge.upstream.connection import CoreConnection, CoreSecurity
from edge.upstream.contract import Caller
from edge.upstream.link import LinkCall
from edge.upstream.status import upstream_error
from tokenwire.addresses import split_target
from tokenwire.cursor import Cursor
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.telemetry import tracer
from tokenwire.telemetry.traceparent import unsampled
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2
from tokenwire.v1.link_pb2 import LinkCaller

UNARY_TIMEOUT_S: Final = 10.0
"""How long a core may take to answer a unary call."""

START_TIMEOUT_S: Final = 60.0
"""How long it may take to start a run: an agent may have to be loaded first. A core that hangs is told from a
slow one by `GetCore`, and is given up much sooner."""

EDGE_PRINCIPAL: Final = "edge"
"""On whose behalf the edge asks a core about itself."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_propagator: Final = TraceContextTextMapPropagator()


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
        self._security = security
        self._connection = CoreConnection(target, security)
        self._retired: dict[CoreConnection, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Close all connections; calls that are still open end as cancelled."""
        for retired, closing in tuple(self._retired.items()):
            closing.cancel()
            await asyncio.wait({closing})
            await retired.close()
        await self._connection.close()

    async def replace_connection(self, timeout_s: float) -> pb.Core | None:
        """Use a new connection from now on, if the core answers over it and no longer over the present one.

        Calls on the old one go on until they end, or have had their time.

        Args:
            timeout_s: How long it may take to answer.

        Returns:
            What it tells of itself over the new one; None if the present one stays.
        """
        present = self._connection
        if not present.is_made:
            return None  # gRPC knows, and connects again by itself.
        new, status = CoreConnection(self.target, self._security), None
        try:
            # Both at once: a core that stood still until now answers over both.
            over_present, status = await asyncio.gather(
                self._describe(present, timeout_s), self._describe(new, timeout_s)
            )
            if over_present is not None:
                status = None
        finally:
            if status is None:
                await new.close()
        if status is not None:
            self._connection = new
            closing = self._retired[present] = asyncio.create_task(present.close(START_TIMEOUT_S))
            closing.add_done_callback(lambda _: self._retired.pop(present))
        return status

    def stream_run(self, run: run_pb2.RunSpec, metadata: Metadata) -> StreamCall:
        """Return the call that starts a run and streams it."""
        request = pb.StreamRunRequest(run=run, relay=True)
        call: StreamCall = self._connection.stream_run(request, metadata=metadata)
        return call

    def follow_run(self, run_id: str, after: Cursor, metadata: Metadata) -> StreamCall:
        """Return the call that streams a run after a cursor."""
        cursor = run_pb2.Cursor(epoch=after.epoch, sequence=after.sequence)
        request = pb.FollowRunRequest(run_id=run_id, after=cursor, relay=True)
        call: StreamCall = self._connection.follow_run(request, metadata=metadata)
        return call

    def open_link(self) -> LinkCall:
        """Return the call that is the edge's link to it."""
        call: LinkCall = self._connection.link(metadata=self.metadata({}, EDGE_PRINCIPAL))
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
        key = self._security.principal_key
        return sign_principal(principal, key) if key else ""

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
            response = await getattr(self._connection.stub, method)(
                request, metadata=metadata, timeout=timeout_s
            )
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
        return await self._describe(self._connection, timeout_s)

    async def _describe(self, connection: CoreConnection, timeout_s: float) -> pb.Core | None:
        """Return what the core tells of itself over a connection; None when it does not answer."""
        metadata = self.metadata({}, EDGE_PRINCIPAL)
        asked = time.time_ns()
        try:
            answer = await connection.stub.GetCore(pb.GetCoreRequest(), metadata=metadata, timeout=timeout_s)
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
