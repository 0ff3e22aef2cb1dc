"""AgentService over grpc.aio. Its handlers only start, read and cancel: runs live in the manager."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, NamedTuple

from opentelemetry import trace

from agent_core.log.batch import Batch
from agent_core.log.peers import LogScope
from agent_core.log.position import START
from agent_core.log.records import RunInfo
from agent_core.rpc.calls import Call, Rpc, ServicerContext
from agent_core.rpc.link.links import Links
from agent_core.rpc.responses import LAG_TOLD_NANO, ResponseEncoder
from agent_core.rpc.run_access import RunAccess, position_of
from agent_core.rpc.run_message import run_message
from agent_core.rpc.validation import page_token, require_run_id, require_valid_input, require_valid_page
from agent_core.runs.follower import CaughtUp, Follower, FollowRequest
from agent_core.runs.inputs import OUTCOMES, Answer
from agent_core.runs.run import StopCause
from agent_core.runs.transcript import TranscriptQuery
from agent_core.telemetry.call_recorder import CallRecorder
from tokenwire.telemetry import clock_id, monotonic_nano
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import link_pb2
from tokenwire.v1.run_pb2 import (
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_GRACE,
    Run,
)
from tokenwire.v1.stream_pb2 import Clock

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


class _Deadline(NamedTuple):
    """When a call is out of time, in seconds of the monotonic clock."""

    latest: float | None
    """When its time has passed here; None for never."""
    earliest: float
    """From when on the end of the call is taken for the end of its time."""


NEVER: Final = _Deadline(None, math.inf)


class AgentService:
    """The handlers of the service's rpcs, which are given calls that were let in. Streams write themselves.

    Args:
        access: Starts runs, and knows all of them.
        links: Serves the links of edges.
        telemetry: What is told of tokens.
    """

    def __init__(self, access: RunAccess, links: Links, telemetry: TelemetrySettings) -> None:
        self._access = access
        self._manager = access.manager
        self._links = links
        self._telemetry = telemetry

    def rpcs(self) -> dict[str, Rpc]:
        """Return how each rpc is served."""
        return {
            "StreamRun": Rpc(pb.StreamRunRequest, self.stream_run, streams=True, streams_run=True),
            "FollowRun": Rpc(pb.FollowRunRequest, self.follow_run, streams=True, streams_run=True),
            "StartRun": Rpc(pb.StartRunRequest, self.start_run),
            "GetRun": Rpc(pb.GetRunRequest, self.get_run),
            "CancelRun": Rpc(pb.CancelRunRequest, self.cancel_run),
            "SendInput": Rpc(pb.SendInputRequest, self.send_input),
            "ListRuns": Rpc(pb.ListRunsRequest, self.list_runs),
            "GetTranscript": Rpc(pb.GetTranscriptRequest, self.get_transcript),
            # Asked each second.
            "GetCore": Rpc(pb.GetCoreRequest, self.get_core, traced=False),
            # Lives for days: each start and follow on it has a span of its own.
            "Link": Rpc(
                link_pb2.LinkRequest, self._links.serve, many=True, streams=True, for_edges=True, traced=False
            ),
        }

    async def stream_run(self, request: pb.StreamRunRequest, call: Call) -> None:
        """Start a run and stream it to its end."""
        began_nano = monotonic_nano()
        deadline = _deadline(call.context)
        with self._manager.following(call.principal):  # before there is a run that nobody could follow
            run_id = await self._access.start(
                request.run, call.principal, ON_DISCONNECT_CANCEL, call.span, deadline.latest
            )
            follow = FollowRequest(run_id, call.principal, START, request.relay, say_caught_up=False)
            recorder = self._recorder(call, follow, began_nano, starts=True)
            await self._stream(follow, call.context, deadline, recorder)

    async def follow_run(self, request: pb.FollowRunRequest, call: Call) -> None:
        """Stream a run from a cursor to its end."""
        began_nano = monotonic_nano()
        self._access.link_spans(request.run_id, call.principal, call.span)
        after = position_of(request.after)
        follow = FollowRequest(request.run_id, call.principal, after, request.relay, say_caught_up=True)
        with self._manager.following(call.principal):
            recorder = self._recorder(call, follow, began_nano, starts=False)
            await self._stream(follow, call.context, NEVER, recorder)

    async def start_run(self, request: pb.StartRunRequest, call: Call) -> pb.StartRunResponse:
        """Start a run."""
        run_id = await self._access.start(request.run, call.principal, ON_DISCONNECT_GRACE, call.span, None)
        return pb.StartRunResponse(run=await self._run(run_id, call.principal))

    async def get_run(self, request: pb.GetRunRequest, call: Call) -> pb.GetRunResponse:
        """Return a run's state."""
        require_run_id(request.run_id)
        run = await self._run(request.run_id, call.principal)
        if request.include_message:  # Whose it is was checked.
            run.message = await self._manager.transcripts.message(request.run_id)
        return pb.GetRunResponse(run=run)

    async def cancel_run(self, request: pb.CancelRunRequest, call: Call) -> pb.CancelRunResponse:
        """Cancel a run, or hear that one who followed it through a relay has left."""
        require_run_id(request.run_id)
        if request.cause == pb.CANCEL_CAUSE_FOLLOWER_LEFT:
            await self._manager.follower_left(request.run_id, call.principal)
            return pb.CancelRunResponse(run=await self._run(request.run_id, call.principal))
        info, stopping = await self._manager.cancel(request.run_id, call.principal)
        return pb.CancelRunResponse(run=run_message(info, stopping=stopping))

    async def send_input(self, request: pb.SendInputRequest, call: Call) -> pb.SendInputResponse:
        """Answer or decline a question of a run."""
        require_valid_input(request)
        value_json = request.value_json if request.HasField("value_json") else None
        answer = Answer(value_json, request.request_id)
        outcome = await self._manager.send_input(request.run_id, call.principal, request.input_id, answer)
        return pb.SendInputResponse(input_id=request.input_id, outcome=OUTCOMES[outcome])

    async def list_runs(self, request: pb.ListRunsRequest, call: Call) -> pb.ListRunsResponse:
        """List a session's runs."""
        page = require_valid_page(request)
        # One more than asked for tells whether there is another page.
        infos = await self._manager.runs(call.principal, request.session_id, page.size + 1, page.place)
        runs = [await self._run_message(info) for info in infos[: page.size]]
        token = page_token(infos[page.size - 1].record) if len(infos) > page.size else ""
        return pb.ListRunsResponse(runs=runs, next_page_token=token)

    async def get_transcript(self, request: pb.GetTranscriptRequest, call: Call) -> pb.GetTranscriptResponse:
        """Return a page of a session's turns."""
        asked = require_valid_page(request)
        page = await self._manager.transcripts.page(
            TranscriptQuery(
                call.principal, request.session_id, asked.size, asked.place, newest_first=asked.newest_first
            )
        )
        token = page_token(page.turns[-1].info.record) if page.more else ""
        turns = [
            pb.Turn(run=await self._run_message(turn.info, turn.message), text=turn.text)
            for turn in page.turns
        ]
        return pb.GetTranscriptResponse(turns=turns, next_page_token=token)

    async def get_core(self, _: pb.GetCoreRequest, __: Call) -> pb.GetCoreResponse:
        """Tell what a caller of several cores has to know of this one."""
        manager = self._manager
        core = pb.Core(
            incarnation=manager.incarnation,
            log_scope=LOG_SCOPE[manager.log_scope],
            ready=manager.ready,
            draining=manager.draining,
            link=True,
            agents=self._access.agent_names,
        )
        clock = Clock(id=clock_id(), send_nano=monotonic_nano(), send_unix_nano=time.time_ns())
        return pb.GetCoreResponse(core=core, clock=clock)

    async def _run(self, run_id: str, principal: str) -> Run:
        """Return a run's state as the contract says it.

        Raises:
            RefusalError: There is no such run.
        """
        return await self._run_message(await self._manager.info(run_id, principal))

    async def _run_message(self, info: RunInfo, message: str = "") -> Run:
        """Return a run's state as the contract says it. That it is stopping, only its own core knows."""
        live = self._manager.live(info.record.run_id)
        stopping = live is not None and live.stopping
        waiting = await self._manager.is_waiting(info)
        return run_message(info, stopping=stopping, waiting=waiting, message=message)

    def _recorder(
        self, call: Call, follow: FollowRequest, began_nano: int, *, starts: bool
    ) -> CallRecorder | None:
        """Return what follows the tokens of a stream to a direct caller; of a relayed one, its edge does."""
        if follow.relay:
            return None

        def run_span() -> trace.SpanContext:
            run = self._manager.live(follow.run_id)
            return trace.INVALID_SPAN_CONTEXT if run is None or run.span is None else run.span.context

        return CallRecorder(
            self._telemetry, call.span, follow.run_id, run_span=run_span, starts=starts, began_nano=began_nano
        )

    async def _stream(
        self,
        follow: FollowRequest,
        context: ServicerContext,
        deadline: _Deadline,
        recorder: CallRecorder | None,
    ) -> None:
        """Write what a follower of a run is given, until the terminal event was written.

        Args:
            follow: What is asked for.
            context: The call.
            deadline: The call's, where it is the run's too.
            recorder: Follows the tokens.
        """
        follower = await self._manager.follow(follow)
        left = False
        try:
            await _write(follower, context, recorder)
        except asyncio.CancelledError:
            left = True
            run = self._manager.live(follow.run_id)
            if run is not None and time.monotonic() >= deadline.earliest:
                # Said before the follower leaves: the run is out of time, nobody cancelled it.
                run.stop(StopCause.DEADLINE)
            raise
        finally:
            await follower.aclose()
            if recorder is not None:
                recorder.end(left=left)


async def _write(follower: Follower, context: ServicerContext, recorder: CallRecorder | None) -> None:
    """Write all that a follower is given."""
    encoder, lag = ResponseEncoder(follower.run_id, clock_id()), loop_lag()
    before_nano = monotonic_nano()
    while (given := await follower.next()) is not None:
        now = monotonic_nano()
        stood_nano = lag.lag_within(before_nano, now)
        if recorder is not None and isinstance(given, Batch):
            recorder.add(given.events)
        elif recorder is not None and isinstance(given, CaughtUp):
            recorder.caught_up()
        told_nano = stood_nano if stood_nano > LAG_TOLD_NANO else 0
        before_nano = now
        await context.write(encoder.encode(given, now, time.time_ns(), told_nano))
        if recorder is not None:
            recorder.written()


def _deadline(context: ServicerContext) -> _Deadline:
    """Return when a call is out of time."""
    left_s = context.time_remaining()
    if left_s is None:
        return NEVER
    latest = time.monotonic() + left_s
    return _Deadline(latest, latest - DEADLINE_SLACK_S - DEADLINE_SLACK_SHARE * left_s)
