"""What every route is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response.base import ASGIResponse

from edge.errors import UpstreamError
from edge.http.authentication import Authenticator, Tickets, principal_of
from edge.http.drain import Drain
from edge.http.event_stream import EventStream
from edge.http.limits import Limits
from edge.http.stream_policy import HeartbeatKind, StreamPolicy, come_back_later
from edge.settings import EdgeSettings
from edge.telemetry.server_span import server_context
from edge.upstream import Caller, Progress, RunCall, Upstream
from edge.wire.dialects import NativeDialect
from edge.wire.event_id import START, Cursor
from edge.wire.stream import StreamState
from tokenwire.v1 import agent_service_pb2, run_pb2


@dataclass(frozen=True, slots=True)
class EdgeContext:
    """What the composition root put together."""

    settings: EdgeSettings
    """The settings."""
    upstream: Upstream
    """The way to the cores."""
    policy: StreamPolicy
    """How streams are paced."""
    drain: Drain
    """Says when this edge is going down."""
    authenticator: Authenticator
    """Tells who is asking."""
    tickets: Tickets
    """Tells who is asking where no header can be sent."""
    limits: Limits
    """How much may be open and started."""

    def start_stream(
        self, request: Request[Any, Any, Any], run: run_pb2.RunSpec, heartbeat: HeartbeatKind
    ) -> ASGIResponse:
        """Return the response that starts a run and streams it.

        Args:
            request: Whose response it is.
            run: What to run.
            heartbeat: What heartbeats look like.
        """
        caller = caller_of(request)
        state = self._state(START, live=True)
        return self._stream(
            lambda: self.upstream.stream_run(run, caller, lambda: progress_of(state)),
            state,
            caller,
            heartbeat,
        )

    def follow_stream(
        self, request: Request[Any, Any, Any], run_id: str, after: Cursor, heartbeat: HeartbeatKind
    ) -> ASGIResponse:
        """Return the response that streams a run's events after a cursor.

        Args:
            request: Whose response it is.
            run_id: The run.
            after: The last event that the client has.
            heartbeat: What heartbeats look like.
        """
        caller = caller_of(request)
        state = self._state(after, live=False)
        state.name_run(run_id)
        return self._stream(
            lambda: self.upstream.follow_run(caller, lambda: progress_of(state)), state, caller, heartbeat
        )

    async def run_to_follow(self, request: Request[Any, Any, Any], run_id: str) -> run_pb2.Run | None:
        """Return the state of a run that is to be followed; None when that can't be done now.

        Args:
            request: On whose behalf.
            run_id: The run.

        Raises:
            UpstreamError: There is no such run, or it was lost.
        """
        if self.drain.started:
            return None
        try:
            return await self.upstream.get_run(run_id, caller_of(request))
        except UpstreamError as error:
            if error.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
                raise
            return None

    def come_back_later(self) -> ASGIResponse:
        """Return the answer to a follow that can't be served now."""
        return come_back_later(self.policy.jittered_retry_ms(self.drain.streams))

    def _stream(
        self, open_call: Callable[[], RunCall], state: StreamState, caller: Caller, heartbeat: HeartbeatKind
    ) -> EventStream:
        """Return the response that streams what a call reads."""
        cause = agent_service_pb2.CANCEL_CAUSE_FOLLOWER_LEFT
        return EventStream(
            open_call,
            state,
            say_left=lambda run_id: self.upstream.cancel_run(run_id, cause, caller),
            policy=replace(self.policy, heartbeat=heartbeat),
            drain=self.drain,
        )

    def _state(self, after: Cursor, *, live: bool) -> StreamState:
        return StreamState(
            NativeDialect,
            after=after,
            budget_bytes=self.settings.client_budget_bytes,
            merge=self.settings.merge,
            live=live,
        )


def progress_of(state: StreamState) -> Progress:
    """Return how far a stream has come, as the way to the cores wants to know it."""
    epoch, sequence = state.last
    cursor = run_pb2.Cursor(epoch=epoch, sequence=sequence)
    return Progress(state.run_id, cursor, ended=state.terminal is not None)


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return on whose behalf a request's calls to the core are made."""
    return Caller(server_context(request.scope), principal_of(request))


EdgeDependency: TypeAlias = NamedDependency[SkipValidation[EdgeContext]]
"""The context, as a handler's parameter `edge`."""
