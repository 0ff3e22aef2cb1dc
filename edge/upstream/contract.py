"""What the edge wants of the cores, whatever carries it."""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from edge.errors import EdgeError
from tokenwire.cursor import Cursor
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.v1 import agent_service_pb2, event_pb2, run_pb2, stream_pb2


class Caller(NamedTuple):
    """On whose behalf a call is made."""

    context: Context
    """The trace context of the request."""
    principal: str
    """Who is asking."""


class Leave(enum.Enum):
    """Why a stream no longer needs its run."""

    ENDED = "ended"
    """It has the terminal event, or was told that the run can't be followed."""
    LEFT = "left"
    """Its client left by itself: the run's OnDisconnect decides what follows."""
    EVICTED = "evicted"
    """Its client does not read: counts as grace."""
    DRAINED = "drained"
    """This edge goes down: counts as grace."""
    BROKEN = "broken"
    """The stream failed here: counts as grace."""


class RunSink(Protocol):
    """Is told what comes of a run: in order, without gap and duplicate, in the turn in which it came.

    All of it is told synchronously, by the one who reads the link or the call: none of the methods may
    raise. What one sink raises all the same ends its own stream alone: its `end` is told INTERNAL.

    A worked sequence: `begin`, `arrived`, `event`, `event`, `flush`, `arrived`, `control`, `flush`,
    `arrived`, `event` (terminal), `flush`, `end(None)`.
    """

    @property
    def full(self) -> bool:
        """Whether more waits for the client than its budget allows.

        Nothing comes then until `RunCall.resume`, but for what is under way: as much again at most.
        """

    def begin(self, run_id: str) -> None:
        """Learn the run's id. Told once, before any event."""

    def arrived(self, clock: SenderClock, recv_nano: int, size_bytes: int) -> None:
        """Learn that a message has come, whose events or control follow, if it has some.

        Args:
            clock: What it says of its sender's clock.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
            size_bytes: How much of it, encoded, is this run's.
        """

    def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        """Take the next event of the run.

        Args:
            epoch: Its epoch.
            sequence: Its sequence: one more than that of the event before, but after a resync.
            event: The event. It belongs to a message that is dropped: keep nothing of it.
        """

    def control(self, control: stream_pb2.Control) -> None:
        """Take a control: caught_up, resync, degraded. That a core goes down is the upstream's own affair.

        After a stream went on elsewhere, caught_up comes again. A degraded of the upstream's own, while no
        core can read the log, comes without `arrived`.
        """

    def flush(self) -> None:
        """Write what was told since `arrived`, if the client can be written to."""

    def end(self, failure: EdgeError | None) -> None:
        """Learn that nothing more comes. Told once, unless the sink has closed the call.

        Args:
            failure: Why the run can't be started or followed any further; None after the terminal event.
        """


class RunCall(Protocol):
    """One run, as one stream reads it: outlives the links and calls that carry it. Close it."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing can come at the moment: nothing carries it, or its core does not answer."""

    @property
    def span_context(self) -> SpanContext:
        """Names the CLIENT span of what carries it now, or did last; invalid before the first."""

    def start(self, sink: RunSink) -> None:
        """Begin to read. Nothing is told before this returns.

        Args:
            sink: Is told what comes.
        """

    def resume(self) -> None:
        """Say that the sink, which was full, has room again. Harmless if it was not."""

    def close(self, reason: Leave) -> None:
        """End it at once: the sink is told nothing more. A repetition does nothing.

        Args:
            reason: Why; LEFT is told to the core, also when the run has not begun yet.
        """


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

    def stream_run(self, run: run_pb2.RunSpec, caller: Caller) -> RunCall:
        """Return the call that starts a run and streams its events.

        Args:
            run: What to run. Its request_id makes it safe to ask twice.
            caller: On whose behalf.
        """

    def follow_run(self, run_id: str, after: Cursor, caller: Caller) -> RunCall:
        """Return the call that streams a run's events.

        Args:
            run_id: The run.
            after: The last event that the client has.
            caller: On whose behalf.
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

    async def send_input(
        self, request: agent_service_pb2.SendInputRequest, caller: Caller
    ) -> agent_service_pb2.SendInputResponse:
        """Answer or decline a question of a run and return its outcome.

        Args:
            request: The answer. Its request_id makes it safe to send twice.
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

    async def agents(self) -> list[str]:
        """Return the names of the agents that the cores run, a default one first."""

    async def ready(self) -> bool:
        """Return whether a core can start runs now."""
