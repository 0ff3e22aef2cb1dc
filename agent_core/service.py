"""AgentService over grpc.aio. Its handlers only start, read and cancel: runs live in the manager."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias

import grpc
from opentelemetry import trace
from opentelemetry.context import Context

from agent_core.agents.catalogue import AgentCatalogue, NamedAgent
from agent_core.agents.loading import AgentLoadError
from agent_core.authentication import Callers
from agent_core.errors import (
    AgentUnavailableError,
    CoreLogAwayError,
    NotImplementedYetError,
    RefusalError,
    UnknownAgentError,
    UnknownRunError,
)
from agent_core.responses import ResponseEncoder
from agent_core.run_message import run_message
from agent_core.runs.follower import FollowOrder
from agent_core.runs.log.contract import FIRST_EPOCH, START, LogAwayError, LogGoneError, Position, RunInfo
from agent_core.runs.manager import RunManager
from agent_core.runs.peers import LogScope
from agent_core.runs.run_order import StopCause
from agent_core.status import grpc_status
from agent_core.telemetry.rpc_span import end_rpc_span, incoming_context, start_rpc_span
from agent_core.validation import page_token, require_run_id, require_valid_page, require_valid_spec
from tokenwire.telemetry import clock_id, monotonic_nano
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import link_pb2
from tokenwire.v1.run_pb2 import (
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_GRACE,
    OnDisconnect,
    Run,
    RunSpec,
)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["AgentService"].full_name

LOG_SCOPE: Final = {
    LogScope.PROCESS: pb.LOG_SCOPE_PROCESS,
    LogScope.CORE: pb.LOG_SCOPE_CORE,
    LogScope.SHARED: pb.LOG_SCOPE_SHARED,
}

DEADLINE_SLACK_S: Final = 0.05
DEADLINE_SLACK_SHARE: Final = 0.01
"""How much earlier than here a call's deadline may pass at the caller, whose timer started before the
call arrived; and grpc-timeout is rounded up, to three digits or so."""

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = Callable[[Any, ServicerContext], Awaitable[Any]]

logger = logging.getLogger(__name__)


class _Deadline(NamedTuple):
    """When a call is out of time, in seconds of the monotonic clock."""

    latest: float | None
    """When its time has passed here; None for never."""
    earliest: float
    """From when on the end of the call is taken for the end of its time."""


NEVER: Final = _Deadline(None, math.inf)


class AgentService:
    """The handlers of the service's rpcs.

    The streaming ones write bytes themselves: a coroutine's `finally` runs when its call is
    cancelled, a suspended generator's only when the garbage is collected.

    Args:
        manager: The runs.
        agents: The agents.
        callers: Tells who calls.
        max_message_bytes: The longest message of a user.
    """

    def __init__(
        self, manager: RunManager, agents: AgentCatalogue, callers: Callers, *, max_message_bytes: int
    ) -> None:
        self._manager = manager
        self._agents = agents
        self._callers = callers
        self._max_message_bytes = max_message_bytes

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server needs to serve these rpcs."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "StreamRun": _streaming(self.stream_run, pb.StreamRunRequest),
                "FollowRun": _streaming(self.follow_run, pb.FollowRunRequest),
                "StartRun": _unary(self.start_run, pb.StartRunRequest),
                "GetRun": _unary(self.get_run, pb.GetRunRequest),
                "CancelRun": _unary(self.cancel_run, pb.CancelRunRequest),
                "ListRuns": _unary(self.list_runs, pb.ListRunsRequest),
                "GetCore": _unary(self.get_core, pb.GetCoreRequest),
                "Link": grpc.stream_stream_rpc_method_handler(
                    self.link,
                    request_deserializer=link_pb2.LinkRequest.FromString,
                    response_serializer=link_pb2.LinkResponse.SerializeToString,
                ),
            },
        )

    async def stream_run(self, request: pb.StreamRunRequest, context: ServicerContext) -> None:
        """Start a run and stream it to its end."""
        async with _call("StreamRun", context) as span:
            principal = self._principal(context)
            deadline = _deadline(context)
            with self._manager.following(principal):  # before there is a run that nobody could follow
                run_id = await self._start(
                    request.run, principal, ON_DISCONNECT_CANCEL, span, deadline.latest
                )
                order = FollowOrder(run_id, principal, START, request.relay, say_caught_up=False)
                await self._stream(order, context, deadline)

    async def follow_run(self, request: pb.FollowRunRequest, context: ServicerContext) -> None:
        """Stream a run from a cursor to its end."""
        async with _call("FollowRun", context) as span:
            principal = self._principal(context)
            require_run_id(request.run_id)
            run = self._manager.live(request.run_id)
            if run is not None and run.record.owner == principal and run.span is not None:
                # Two traces, each with a link to the other.
                span.add_link(run.span.context)
                run.span.add_follower(span.get_span_context())
            after = Position(request.after.epoch or FIRST_EPOCH, request.after.sequence)
            order = FollowOrder(request.run_id, principal, after, request.relay, say_caught_up=True)
            with self._manager.following(principal):
                await self._stream(order, context, NEVER)

    async def start_run(self, request: pb.StartRunRequest, context: ServicerContext) -> pb.StartRunResponse:
        """Start a run."""
        async with _call("StartRun", context) as span:
            principal = self._principal(context)
            run_id = await self._start(request.run, principal, ON_DISCONNECT_GRACE, span, None)
            return pb.StartRunResponse(run=await self._run(run_id, principal))

    async def get_run(self, request: pb.GetRunRequest, context: ServicerContext) -> pb.GetRunResponse:
        """Return a run's state."""
        async with _call("GetRun", context):
            principal = self._principal(context)
            require_run_id(request.run_id)
            return pb.GetRunResponse(run=await self._run(request.run_id, principal))

    async def cancel_run(
        self, request: pb.CancelRunRequest, context: ServicerContext
    ) -> pb.CancelRunResponse:
        """Cancel a run, or hear that one who followed it through a relay has left."""
        async with _call("CancelRun", context):
            principal = self._principal(context)
            require_run_id(request.run_id)
            if request.cause == pb.CANCEL_CAUSE_FOLLOWER_LEFT:
                await self._manager.follower_left(request.run_id, principal)
                return pb.CancelRunResponse(run=await self._run(request.run_id, principal))
            info, stopping = await self._manager.cancel(request.run_id, principal)
            return pb.CancelRunResponse(run=run_message(info, stopping=stopping))

    async def list_runs(self, request: pb.ListRunsRequest, context: ServicerContext) -> pb.ListRunsResponse:
        """Tell a session's runs."""
        async with _call("ListRuns", context):
            principal = self._principal(context)
            page = require_valid_page(request)
            # One more than asked for tells whether there is another page.
            infos = await self._manager.runs(principal, request.session_id, page.size + 1, page.before)
            runs = [run_message(info, stopping=self._is_stopping(info)) for info in infos[: page.size]]
            token = page_token(infos[page.size - 1].record) if len(infos) > page.size else ""
            return pb.ListRunsResponse(runs=runs, next_page_token=token)

    async def get_core(self, request: pb.GetCoreRequest, context: ServicerContext) -> pb.GetCoreResponse:
        """Tell what a caller of several cores has to know of this one. Asked each second, so not traced."""
        del request
        try:
            self._principal(context)
        except RefusalError as refusal:
            await context.abort_with_status(grpc_status(refusal))
        manager = self._manager
        core = pb.Core(
            incarnation=manager.incarnation,
            log_scope=LOG_SCOPE[manager.log_scope],
            ready=manager.ready,
            draining=manager.draining,
        )
        return pb.GetCoreResponse(core=core)

    async def link(self, requests: AsyncIterator[link_pb2.LinkRequest], context: ServicerContext) -> None:
        """Refuse: not served yet."""
        del requests
        async with _call("Link", context):
            raise NotImplementedYetError("Link")

    async def _start(
        self,
        spec: RunSpec,
        principal: str,
        on_disconnect: OnDisconnect.ValueType,
        span: trace.Span,
        deadline: float | None,
    ) -> str:
        """Return the id of the run that stands for a request.

        Raises:
            RefusalError: It can't be started.
        """
        require_valid_spec(spec, max_message_bytes=self._max_message_bytes)
        agent = await self._agent(spec.agent or self._agents.default)
        parent = trace.set_span_in_context(span, Context())
        return await self._manager.start(
            spec, agent, owner=principal, on_disconnect=on_disconnect, parent=parent, deadline=deadline
        )

    async def _agent(self, name: str) -> NamedAgent:
        """Return an agent.

        Raises:
            UnknownAgentError: There is none of that name.
            AgentUnavailableError: It can't be loaded, or did not start.
        """
        try:
            return await self._agents.get(name)
        except KeyError:
            raise UnknownAgentError(name, self._agents.names) from None
        except AgentLoadError as error:
            logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
            raise AgentUnavailableError(name) from error

    def _principal(self, context: ServicerContext) -> str:
        """Return who makes a call.

        Raises:
            RefusalError: The call does not prove it.
        """
        return self._callers.principal_of(context.invocation_metadata() or (), context.auth_context())

    async def _run(self, run_id: str, principal: str) -> Run:
        """Return a run's state as the contract says it.

        Raises:
            RefusalError: There is no such run.
        """
        info = await self._manager.info(run_id, principal)
        return run_message(info, stopping=self._is_stopping(info))

    def _is_stopping(self, info: RunInfo) -> bool:
        """Return whether a run's agent was told to stop, as far as this core knows."""
        run = self._manager.live(info.record.run_id)
        return run is not None and run.stopping

    async def _stream(self, order: FollowOrder, context: ServicerContext, deadline: _Deadline) -> None:
        """Write what a follower of a run is given, until the terminal event was written.

        Args:
            order: What is asked for.
            context: The call.
            deadline: The call's, where it is the run's too.
        """
        follower = await self._manager.follow(order)
        try:
            encoder = ResponseEncoder(order.run_id, clock_id())
            while (given := await follower.next()) is not None:
                await context.write(encoder.encode(given, monotonic_nano(), time.time_ns()))
        except LogGoneError as error:
            raise UnknownRunError from error
        except asyncio.CancelledError:
            run = self._manager.live(order.run_id)
            if run is not None and time.monotonic() >= deadline.earliest:
                # Said before the follower leaves: the run is out of time, nobody cancelled it.
                run.stop(StopCause.DEADLINE)
            raise
        finally:
            await follower.aclose()


def _deadline(context: ServicerContext) -> _Deadline:
    """Return when a call is out of time."""
    left_s = context.time_remaining()
    if left_s is None:
        return NEVER
    latest = time.monotonic() + left_s
    return _Deadline(latest, latest - DEADLINE_SLACK_S - DEADLINE_SLACK_SHARE * left_s)


def _streaming(handler: Handler, request: type[Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return the entry of an rpc whose handler writes encoded responses."""
    return grpc.unary_stream_rpc_method_handler(handler, request_deserializer=request.FromString)


def _unary(handler: Handler, request: type[Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return the entry of an rpc with one response."""
    return grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


@asynccontextmanager
async def _call(method: str, context: ServicerContext) -> AsyncIterator[trace.Span]:
    """Trace a call, and end it as what is raised says."""
    name = f"{SERVICE}/{method}"
    span = start_rpc_span(name, incoming_context(context.invocation_metadata() or ()))
    code = "OK"
    try:
        yield span
    except asyncio.CancelledError:
        code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
        raise  # grpc.aio leaks the call when its handler swallows this.
    except RefusalError as refusal:
        code = refusal.code
        await context.abort_with_status(grpc_status(refusal))
    except LogAwayError as error:
        logger.error("%s: the log is away: %s", name, error)  # noqa: TRY400 # the text says all
        away = CoreLogAwayError()
        code = away.code
        await context.abort_with_status(grpc_status(away))
    except Exception as error:
        code = "INTERNAL"
        span.record_exception(error)
        logger.exception("%s failed", name)
        broken = RefusalError("INTERNAL", "CORE_FAILED", "Something went wrong in the agent core.")
        await context.abort_with_status(grpc_status(broken))
    finally:
        end_rpc_span(span, code)
