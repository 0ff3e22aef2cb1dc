"""What the edge wants of the cores, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from edge.errors import EdgeError
from tokenwire.v1 import agent_service_pb2, run_pb2


class Caller(NamedTuple):
    """On whose behalf a call is made."""

    context: Context
    """The trace context of the request."""
    principal: str
    """Who is asking."""


class Progress(NamedTuple):
    """How far the reader of a stream has come."""

    run_id: str
    """The run; empty until its first response."""
    cursor: run_pb2.Cursor
    """The last event that the reader has."""
    ended: bool
    """Whether that is the terminal event."""


TellProgress: TypeAlias = Callable[[], Progress]


class RunCall(Protocol):
    """The stream of one run, which outlives the calls that it is made of. Whoever opened it cancels it."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing can come at the moment: there is no call, or its core does not answer."""

    @property
    def span_context(self) -> SpanContext:
        """Names the CLIENT span of the call that is read, or was read last; invalid before the first."""

    async def read(self) -> bytes | None:
        """Return the next encoded StreamRunResponse or FollowRunResponse; None after the terminal event.

        A call that breaks is followed by another one from where the reader is: what it has already may
        come again.

        Raises:
            UpstreamError: The run can't be started, or can't be followed any further.
            asyncio.CancelledError: The stream was cancelled.
        """

    def broken(self, error: EdgeError) -> None:
        """Say that what was read lacks an event, so that the next `read` follows from where the reader is.

        Args:
            error: What is lacking: raised by `read` when it stays so.
        """

    def move(self) -> None:
        """Say that the core is going down, so that the next `read` goes to another one, if there is one."""

    def cancel(self) -> None:
        """End the stream at once. Needless, and harmless, after its end."""


class RunsPage(NamedTuple):
    """Which of a session's runs are asked for."""

    session_id: str
    page_size: int
    """0 for the core's usual one."""
    page_token: str
    """Empty for the first page."""


class TranscriptQuery(NamedTuple):
    """Which of a session's turns are asked for."""

    session_id: str
    page_size: int
    """0 for the core's usual one."""
    page_token: str
    """Empty for the first page."""
    newest_first: bool


class Upstream(Protocol):
    """The cores. Every method raises UpstreamError when they refuse or can't be reached."""

    def stream_run(self, run: run_pb2.RunSpec, caller: Caller, progress: TellProgress) -> RunCall:
        """Return the call that starts a run and streams its events.

        Args:
            run: What to run. Its request_id makes it safe to ask twice.
            caller: On whose behalf.
            progress: Tells how far the reader has come.
        """

    def follow_run(self, caller: Caller, progress: TellProgress) -> RunCall:
        """Return the call that streams a run's events.

        Args:
            caller: On whose behalf.
            progress: Tells which run, and how far the reader has come: it begins after that.
        """

    async def start_run(self, run: run_pb2.RunSpec, caller: Caller) -> run_pb2.Run:
        """Start a run without following it and return its state.

        Args:
            run: What to run.
            caller: On whose behalf.
        """

    async def get_run(self, run_id: str, caller: Caller) -> run_pb2.Run:
        """Return a run's state.

        Args:
            run_id: The run.
            caller: On whose behalf.
        """

    async def cancel_run(
        self, run_id: str, cause: agent_service_pb2.CancelCause.ValueType, caller: Caller
    ) -> run_pb2.Run:
        """Cancel a run and return the state that came of it.

        Args:
            run_id: The run.
            cause: Why.
            caller: On whose behalf.
        """

    async def list_runs(self, page: RunsPage, caller: Caller) -> agent_service_pb2.ListRunsResponse:
        """Return a page of a session's runs, newest first.

        Args:
            page: Which.
            caller: On whose behalf.
        """

    async def get_transcript(
        self, query: TranscriptQuery, caller: Caller
    ) -> agent_service_pb2.GetTranscriptResponse:
        """Return a page of a session's turns.

        Args:
            query: Which.
            caller: On whose behalf.
        """

    async def ready(self) -> bool:
        """Return whether a core can start runs now."""
