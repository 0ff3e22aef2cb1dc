"""The stream of one run: one gRPC call after the other, to whichever core serves it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from edge.errors import EdgeError, UpstreamError
from edge.telemetry.client_span import ReconnectSpan
from edge.upstream.contract import Caller, TellProgress
from edge.upstream.core import Attempt, GrpcStream
from edge.upstream.cores import (
    ELSEWHERE,
    FOLLOW_SILENCE_S,
    START_SILENCE_S,
    Cores,
    Member,
    is_of_transport,
    not_answering,
)
from edge.upstream.patience import Patience, passes
from edge.upstream.placement import is_lost_with_process, is_ready, is_shared
from tokenwire.principal import owned_key
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2, stream_pb2

PROOF_TIMEOUT_S: Final = 0.5
"""How long a connection may take that is to tell whether a core's process is gone."""

AWAY: Final = "The answer is still being written, but can't be shown at the moment."
"""What a client is told while no core can read the log."""

logger = logging.getLogger(__name__)


class FollowCall:
    """Reads one run to its end.

    Args:
        cores: The cores.
        caller: On whose behalf.
        progress: Tells how far the reader has come.
    """

    def __init__(self, cores: Cores, caller: Caller, progress: TellProgress) -> None:
        self._cores = cores
        self._caller = caller
        self._progress = progress
        self._patience = Patience()
        self._loop = asyncio.get_running_loop()
        self._stream: GrpcStream | None = None
        self._member: Member | None = None
        self._served_by: Member | None = None
        self._avoided: Member | None = None
        self._without_it: set[Member] = set()
        self._moving = False
        self._lacking: EdgeError | None = None
        self._told_away = False
        self._is_interrupted = False
        self._goes_on = False
        self._cancelled = asyncio.Event()
        self._span_context = INVALID_SPAN_CONTEXT
        self._reconnect: ReconnectSpan | None = None
        self._attempt = Attempt.FIRST

    @property
    def is_silent(self) -> bool:
        """Whether nothing can come at the moment: there is no call, or its core does not answer."""
        return self._stream is None or self._member is None or not self._member.answers

    async def read(self) -> bytes | None:
        """Return the next message; None after the terminal event, or when it was cancelled."""
        while not self._cancelled.is_set():
            try:
                message = await self._read()
            except EdgeError as error:
                self._drop()
                if self._progress().ended:
                    return None
                degraded = await self._counted(error)
                if degraded is not None:
                    return degraded
                continue
            if message is not None:
                if self._reconnect is not None:
                    self._reconnected()
                if self._goes_on:
                    self._goes_on = False
                    RESUMES.add(1, BY_EDGE)
                self._served_by = self._member
                self._patience.heard()
                self._told_away = self._is_interrupted = False
                return message
            if self._progress().ended:
                return None
        return None

    async def _read(self) -> bytes | None:
        """Return what the current call says next; None at its end in good order.

        Raises:
            EdgeError: It failed, or ended too early.
        """
        if self._lacking is not None:
            error, self._lacking = self._lacking, None
            raise error
        if self._moving:
            self._moving = False
            self._drop()
        if self._stream is None:
            self._member = await self._next_member()
            if self._cancelled.is_set():
                raise asyncio.CancelledError
            self._goes_on = self._served_by is not None
            self._stream = self._open(self._member)
            if self._reconnect is None:
                self._span_context = self._stream.span_context
            self._member.streams += 1
            self._member.watch(self._on_silence)
        message = await self._stream.read()
        if message is None and not self._progress().ended:
            raise UpstreamError("UNAVAILABLE", details={"reason": "STREAM_ENDED_EARLY"})
        return message

    @property
    def span_context(self) -> SpanContext:
        """Names the CLIENT span of the call that is read, or was read last; invalid before the first.

        While the stream is broken, that of the reconnect: those of its calls may not be exported.
        """
        return self._span_context

    def broken(self, error: EdgeError) -> None:
        """Say that what was read lacks an event."""
        self._lacking = error

    def move(self) -> None:
        """Say that the core is going down."""
        member = self._member
        if member is not None:
            member.drains()
        others = [other for other in self._cores.members if other is not member and is_ready(other)]
        if member is not None and is_shared(member) and others:
            self._avoided = member
            self._moving = True

    def cancel(self) -> None:
        """End the stream at once."""
        self._cancelled.set()
        self._drop()
        if self._reconnect is not None:
            self._reconnect.cancelled()
            self._reconnect = None

    def _on_silence(self) -> None:
        """Leave the core that serves this stream, where it hangs and another one can go on."""
        if self._stream is not None and self._member is not None and self._gives_up(self._member):
            self._stream.give_up(not_answering())

    def _gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer."""
        return member.silent_s >= FOLLOW_SILENCE_S and self._cores.can_replace(member)

    async def _next_member(self) -> Member:
        """Return the core that is asked next: another one than has just failed, if there is one."""
        if self._served_by is not None and not is_shared(self._served_by):
            return self._served_by  # Nobody else has the run.
        members = await self._cores.for_run(self._progress().run_id)
        avoided, self._avoided = self._avoided, None
        others = [member for member in members if member is not avoided and member not in self._without_it]
        return (others or members)[0]

    def _open(self, member: Member) -> GrpcStream:
        """Return the call at a core that goes on where the reader is."""
        progress = self._progress()
        attempt = Attempt.FIRST
        if self._reconnect is not None:
            self._reconnect.attempts += 1
            attempt = self._attempt
        return member.core.follow_run(progress.run_id, progress.cursor, self._caller, attempt)

    async def _counted(self, error: EdgeError) -> bytes | None:
        """Return what `_failed` does, and count the stream where its core is away."""
        member, is_away = self._member, is_of_transport(error)
        if member is not None and is_away and not self._is_interrupted:
            self._is_interrupted = True
            member.interrupted()
        try:
            return await self._failed(error)
        except EdgeError as final:
            if member is not None and is_away:
                member.failed()
            if self._reconnect is not None:
                self._reconnect.failed(final.code)
                self._reconnect = None
            raise

    async def _failed(self, error: EdgeError) -> bytes | None:
        """Return when the run is to be followed again; with a message where the client is to be told.

        Raises:
            EdgeError: It is not: the stream is over.
        """
        member = self._member
        assert member is not None  # noqa: S101 # it has failed
        if self._may_be_elsewhere(member, error):
            return None
        broke_unix_nano = time.time_ns()
        wait_s = self._patience.after(error, self._loop.time())
        await self._require_alive(member, error)
        self._reconnects(error, broke_unix_nano)
        self._avoided = member
        if is_of_transport(error):
            member.suspect(error)
        logger.debug("run %s is followed again: %s", self._progress().run_id, error)
        if error.details.get("reason") == "LOG_AWAY" and not self._told_away:
            self._told_away = True
            control = stream_pb2.Control(degraded=stream_pb2.Degraded(message=AWAY))
            run_id = self._progress().run_id
            return pb.FollowRunResponse(run_id=run_id, control=control).SerializeToString()
        await self._pause(wait_s)
        return None

    def _may_be_elsewhere(self, member: Member, error: EdgeError) -> bool:
        """Return whether another core may have a run that this one does not have."""
        if self._served_by is not None or error.code not in ELSEWHERE or is_shared(member):
            return False
        self._without_it.add(member)
        return len(self._without_it) < len(self._cores.members)

    def _reconnects(self, error: EdgeError, broke_unix_nano: int) -> None:
        """Begin the span of a reconnect, or go on with it."""
        if self._reconnect is None and not self._cancelled.is_set():
            run_id = self._progress().run_id
            self._reconnect = ReconnectSpan(self._caller.context, run_id, broke_unix_nano)
            self._span_context = self._reconnect.context
        self._attempt = Attempt.AGAIN if is_of_transport(error) else Attempt.UNSEEN

    def _reconnected(self) -> None:
        """End the span of a reconnect: a call has brought a message."""
        if self._reconnect is not None and self._stream is not None:
            self._reconnect.succeeded()
            self._reconnect = None
            self._span_context = self._stream.span_context

    async def _require_alive(self, member: Member, error: EdgeError) -> None:
        """Return unless it is proven that the run was lost with its core.

        Raises:
            UpstreamError: It is.
        """
        if not is_lost_with_process(member) or error.code != "UNAVAILABLE":
            return
        if await member.core.refuses_connections(PROOF_TIMEOUT_S):
            raise UpstreamError("UNAVAILABLE", details={"reason": "CORE_LOST"}) from error

    async def _pause(self, wait_s: float) -> None:
        """Wait, but not once the stream was cancelled."""
        try:
            async with asyncio.timeout(wait_s):
                await self._cancelled.wait()
        except TimeoutError:
            return

    def _drop(self) -> None:
        """End the current call."""
        if self._stream is not None and self._member is not None:
            self._stream.cancel()
            self._stream = None
            self._member.streams -= 1
            self._member.unwatch(self._on_silence)


class StartCall(FollowCall):
    """Starts a run, and reads it to its end.

    Args:
        cores: The cores.
        run: What to run. Its request_id makes it safe to ask twice where the cores share their runs.
        caller: On whose behalf.
        progress: Tells how far the reader has come.
    """

    def __init__(self, cores: Cores, run: run_pb2.RunSpec, caller: Caller, progress: TellProgress) -> None:
        super().__init__(cores, caller, progress)
        self._run = run
        self._untried: list[Member] | None = None
        self._start_patience = StartPatience(cores)

    def _gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer."""
        return super()._gives_up(member) if self._progress().run_id else self._start_patience.gives_up(member)

    async def _next_member(self) -> Member:
        """Return the core that is asked next: until the run has begun, each once."""
        if self._progress().run_id:
            return await super()._next_member()
        if self._untried is None:
            self._untried = await self._cores.for_start(session_of(self._run, self._caller))
        return self._untried.pop(0)

    def _open(self, member: Member) -> GrpcStream:
        """Return the call that starts the run, or goes on with it."""
        if self._progress().run_id:
            return super()._open(member)
        return member.core.stream_run(self._run, self._caller)

    async def _failed(self, error: EdgeError) -> bytes | None:
        """Return when the next core is to be asked."""
        if self._progress().run_id:
            return await super()._failed(error)
        member = self._member
        assert member is not None  # noqa: S101 # it has failed
        if is_of_transport(error):
            member.suspect(error)
        if not self._untried or not await starts_elsewhere(member, error):
            raise error
        logger.debug("a run is started at another core than %s: %s", member.target, error)
        return None


class StartPatience:
    """How long one start waits for cores that do not answer `GetCore`. One that answers may be slow.

    Args:
        cores: The cores.
    """

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    def gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer.

        Not at all where another one can take the start: the request's id makes it safe to ask twice.
        """
        waited_s = min(self._loop.time() - self._began_s, member.silent_s)
        return waited_s >= START_SILENCE_S or self._cores.can_replace(member)


async def starts_elsewhere(member: Member, error: EdgeError) -> bool:
    """Return whether a run that could not be started at one core may be started at another one.

    It may not where the first one could have started it unheard, and would not know of the second time.

    Args:
        member: The core that was asked.
        error: What it said.
    """
    if error.details.get("reason") == "CORE_DRAINING":
        return True
    if error.code != "UNAVAILABLE" or not passes(error):
        return False
    return is_shared(member) or await member.core.refuses_connections(PROOF_TIMEOUT_S)


def session_of(run: run_pb2.RunSpec, caller: Caller) -> str:
    """Return what names a run's session, with its owner."""
    return owned_key(caller.principal, run.session_id)
