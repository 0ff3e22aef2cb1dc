"""What every route is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response.base import ASGIResponse

from edge.errors import UpstreamError
from edge.http.authentication import Tickets, TimedStream, TimingTokens, principal_of
from edge.http.drain import Drain
from edge.http.event_stream import EventStream
from edge.http.extensions import ARRIVED_EXTENSION
from edge.http.limits import Limits
from edge.http.stream_policy import StreamLook, StreamPolicy, come_back_later
from edge.http.stream_slot import StreamSlot
from edge.settings import EdgeSettings
from edge.sse.dialects import Dialect, NativeDialect
from edge.telemetry.browser_timing import BrowserTiming
from edge.telemetry.server_span import server_context, server_span, traceparent
from edge.telemetry.stream_recorder import StreamRecorder, TokenTelemetry
from edge.upstream import Caller, RunCall, Upstream
from tokenwire.authentication import Bearers
from tokenwire.cursor import Cursor
from tokenwire.telemetry import monotonic_nano
from tokenwire.v1 import run_pb2

RUN_NAMED_S: Final = 15.0
"""How long the headers wait for the run's id where clients take none without it. The upstream mostly gives up
sooner: then the refusal has an HTTP status of its own."""


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
    authenticator: Bearers
    """Tells who is asking."""
    tickets: Tickets
    """Tells who is asking where no header can be sent."""
    limits: Limits
    """How much may be open and started."""
    telemetry: TokenTelemetry
    """What is told of tokens."""
    timing_tokens: TimingTokens
    """Proves of which stream a page reports."""
    browser_timing: BrowserTiming
    """Takes pages' reports."""

    def start_stream(
        self,
        request: Request[Any, Any, Any],
        run: run_pb2.RunSpec,
        look: StreamLook,
        dialect: Dialect | None = None,
    ) -> EventStream:
        """Return the response that starts a run and streams it.

        Args:
            request: Whose response it is.
            run: What to run.
            look: What the client wants to see besides events.
            dialect: Writes the frames; None for the native one.
        """
        caller = caller_of(request)
        return self._stream(
            lambda: self.upstream.stream_run(run, caller), request, look, dialect, starts=True
        )

    def follow_stream(  # what a follow is
        self,
        request: Request[Any, Any, Any],
        run_id: str,
        after: Cursor,
        look: StreamLook,
        dialect: Dialect | None = None,
    ) -> EventStream:
        """Return the response that streams a run's events after a cursor.

        Args:
            request: Whose response it is.
            run_id: The run.
            after: The last event that the client has.
            look: What the client wants to see besides events.
            dialect: Writes the frames; None for the native one.
        """
        caller = caller_of(request)
        stream = self._stream(
            lambda: self.upstream.follow_run(run_id, after, caller), request, look, dialect, starts=False
        )
        stream.begin(run_id)
        return stream

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
        self,
        open_call: Callable[[], RunCall],
        request: Request[Any, Any, Any],
        look: StreamLook,
        dialect: Dialect | None,
        *,
        starts: bool,
    ) -> EventStream:
        """Return the response that streams what a call tells."""
        dialect = dialect or NativeDialect(ping=look.heartbeat == "ping")
        traits = dialect.traits
        return EventStream(
            open_call,
            dialect,
            self._recorder(request, look, starts=starts),
            slot=StreamSlot(self.limits, starts=starts, for_event_source=traits.has_cursors),
            policy=replace(self.policy, commit_s=RUN_NAMED_S) if traits.names_run else self.policy,
            drain=self.drain,
            budget_bytes=self.settings.client_budget_bytes,
            # A frame of several events could not tell the stamps of each.
            merge=self.settings.merge and traits.merges and not look.timing,
            live=starts,
            heartbeats=look.heartbeat != "off",
        )

    def _recorder(self, request: Request[Any, Any, Any], look: StreamLook, *, starts: bool) -> StreamRecorder:
        """Return what follows the tokens of a stream."""
        extensions: Mapping[str, Any] = request.scope.get("extensions") or {}
        recorder = StreamRecorder(
            self.telemetry,
            server_span(request.scope),
            began_nano=extensions.get(ARRIVED_EXTENSION) or monotonic_nano(),
            starts=starts,
            show=look.timing,
        )
        if look.timing:
            stream = TimedStream(self.browser_timing.new_name(), traceparent(request.scope))
            self.browser_timing.remember(stream.id, recorder.write_times())
            recorder.timing_token = self.timing_tokens.issue(principal_of(request), stream)
        return recorder


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return on whose behalf a request's calls to the core are made."""
    return Caller(server_context(request.scope), principal_of(request))


EdgeDependency: TypeAlias = NamedDependency[SkipValidation[EdgeContext]]
"""The context, as a handler's parameter `edge`."""
