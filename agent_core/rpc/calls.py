"""How every call gets in: who makes it, then what it asks; and how every failure gets out.

grpc.aio reads and parses the request of a "unary" rpc before its handler is called. So each rpc is
registered as if its caller streamed: its handler is called when the metadata is there, and the caller is
checked before a byte of the request is read. On the wire both are the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry import trace

from agent_core.errors import (
    RefusalError,
    RequestTimeoutError,
    TooManyStreamsError,
    UnreadableRequestError,
)
from agent_core.rpc.authentication import Callers
from agent_core.rpc.refusals import Refusals
from agent_core.rpc.status import grpc_status
from agent_core.telemetry.rpc_span import end_rpc_span, incoming_context, start_rpc_span
from tokenwire.limits import OverLimitError, Slots

REQUEST_S: Final = 10.0
"""How long a caller may take to send the request of a call that it has opened."""

MAX_HELD: Final = 1_000
MAX_HELD_PER_HOST: Final = 100
"""The most health watches and reflection streams that may be open at a time, in all and of one host. Each
takes about 13 kB, and needs no credentials, or no run."""

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """One call whose caller was checked."""

    context: ServicerContext
    principal: str
    """Who makes it; empty where the rpc is open."""
    span: trace.Span


Handler: TypeAlias = Callable[[Any, Call], Awaitable[Any]]


class Rpc(NamedTuple):
    """How one rpc is served."""

    request: type[Message]
    handler: Handler
    """Is given the request, or an iterator of all of them where `many`, and the call."""
    many: bool = False
    """Whether its caller streams requests."""
    streams: bool = False
    """Whether it writes encoded responses by itself. Else it returns the one response."""
    open: bool = False
    """Whether it is for everybody: for probes, which have no credentials."""
    bounded: bool = False
    """Whether it is held open without a run, so that only so many may be open."""
    traced: bool = True
    streams_run: bool = False
    """Whether what it writes is one run's events."""
    for_edges: bool = False
    """Whether it carries calls of many principals, so that who bears a key or a token may not call it."""


class Gate:
    """Lets calls in.

    Args:
        callers: Tells who calls.
        refusals: Says what callers are told of failures.
    """

    def __init__(self, callers: Callers, refusals: Refusals) -> None:
        self._callers = callers
        self._refusals = refusals
        self._held = Slots(MAX_HELD, MAX_HELD_PER_HOST)

    def handlers(self, service: str, rpcs: Mapping[str, Rpc]) -> grpc.GenericRpcHandler:
        """Return what a server needs to serve a service.

        Args:
            service: Its full name.
            rpcs: Its rpcs by their names.
        """
        entries = {name: self._entry(f"{service}/{name}", rpc) for name, rpc in rpcs.items()}
        return grpc.method_handlers_generic_handler(service, entries)

    def _entry(self, method: str, rpc: Rpc) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the entry of an rpc, which reads its requests itself."""

        # A coroutine, not a generator: its `finally` runs when its call is cancelled, a suspended
        # generator's only when the garbage is collected.
        async def serve(_: object, context: ServicerContext) -> Any:
            return await self._serve(method, rpc, context)

        if rpc.streams:
            return grpc.stream_stream_rpc_method_handler(serve)
        return grpc.stream_unary_rpc_method_handler(
            serve, response_serializer=lambda response: response.SerializeToString()
        )

    async def _principal(self, rpc: Rpc, context: ServicerContext) -> str:
        """Return who makes a call. That may take as long as a fetch of an issuer's keys.

        Raises:
            RefusalError: The call does not prove it.
        """
        if rpc.open:
            return ""
        given = context.invocation_metadata() or (), context.auth_context()
        return self._callers.edge_of(*given) if rpc.for_edges else await self._callers.principal_of(*given)

    @contextmanager
    def _place(self, context: ServicerContext) -> Iterator[None]:
        """Have a place for a bounded call as long as the block lasts.

        Raises:
            RefusalError: There is none.
        """
        host = context.peer().rpartition(":")[0]
        try:
            self._held.take(host)
        except OverLimitError as error:
            raise TooManyStreamsError(error.most) from error
        try:
            yield
        finally:
            self._held.release(host)

    async def _serve(self, method: str, rpc: Rpc, context: ServicerContext) -> Any:
        """Check who makes a call, trace it, and end it as its handler says, or what is raised."""
        span: trace.Span = trace.INVALID_SPAN
        if rpc.traced:
            parent = incoming_context(context.invocation_metadata() or ())
            span = start_rpc_span(method, parent, streams_run=rpc.streams_run)
        code = "OK"
        try:
            call = Call(context, await self._principal(rpc, context), span)
            with self._place(context) if rpc.bounded else nullcontext():
                if rpc.many:
                    return await rpc.handler(_requests(context, rpc.request), call)
                return await rpc.handler(await _request(context, rpc.request), call)
        except asyncio.CancelledError:
            code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
            raise  # grpc.aio leaks the call when its handler swallows this.
        except grpc.aio.InternalError:
            code = "CANCELLED"
            raise  # The call had ended before what was written to it; grpc.aio knows whether that is strange.
        except Exception as error:  # noqa: BLE001 # whatever it is, the caller is told, and the log
            refusal = self._refusals.refusal_of(error, method, span)
            code = refusal.code
            await self._refuse(context, refusal, method, span)
        finally:
            end_rpc_span(span, code)

    async def _refuse(
        self, context: ServicerContext, refusal: RefusalError, method: str, span: trace.Span
    ) -> None:
        """End a call with a refusal, and log it. grpc.aio ends its task, also where this returns.

        Raises:
            grpc.aio.AbortError: It has ended with it.
        """
        log_id = self._refusals.log(refusal, method, span)
        try:
            await context.abort_with_status(grpc_status(refusal, log_id))
        except grpc.aio.InternalError:
            # gRPC has ended the call by itself, such as for a request that is too large, and reads as
            # if there were none. grpc.aio knows by now that the call is over.
            logger.debug("a call had ended before it was refused: %s", refusal)


async def _request(context: ServicerContext, request: type[Message]) -> Message:
    """Return the one request of a call.

    Raises:
        RefusalError: It does not come, or can't be decoded.
    """
    try:
        async with asyncio.timeout(REQUEST_S):
            data = await context.read()
    except TimeoutError as error:
        raise RequestTimeoutError(REQUEST_S) from error
    return _decoded(data, request)


async def _requests(context: ServicerContext, request: type[Message]) -> AsyncIterator[Message]:
    """Yield the requests of a call whose caller streams them.

    Raises:
        UnreadableRequestError: One can't be decoded.
    """
    while (data := await context.read()) is not grpc.aio.EOF:
        yield _decoded(data, request)


def _decoded(data: Any, request: type[Message]) -> Message:
    """Return a request.

    Args:
        data: Its bytes; EOF where there is none.
        request: What it has to be.

    Raises:
        UnreadableRequestError: It is not.
    """
    name = request.DESCRIPTOR.full_name
    if data is grpc.aio.EOF:
        raise UnreadableRequestError(name)
    try:
        return request.FromString(data)
    except DecodeError as error:
        logger.debug("a request can't be decoded as %s", name)
        raise UnreadableRequestError(name) from error
