"""The cores over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edge.errors import UpstreamError
from edge.upstream.connection import CoreSecurity
from edge.upstream.contract import Caller, RunsPage, TranscriptQuery
from edge.upstream.cores import Cores
from edge.upstream.departures import Departures
from edge.upstream.member import LinkSettings
from edge.upstream.reader import RunReader
from edge.upstream.run_call import FollowCall
from edge.upstream.start_call import StartCall, StartTimeout, session_of, starts_elsewhere
from tokenwire.cursor import Cursor
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.principal import owned_key
from tokenwire.telemetry import clock_id
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2


class GrpcUpstream:
    """All that the edge wants of the cores. Made inside the event loop that uses it.

    Args:
        targets: HOST:PORT of each core.
        security: How they are spoken to.
        clocks: Learns how far the clocks of cores on other machines are apart from ours.
        link: How runs are carried.
    """

    def __init__(
        self,
        targets: Sequence[str],
        security: CoreSecurity,
        clocks: ClockBook | None = None,
        link: LinkSettings = LinkSettings(),  # noqa: B008 # it can't be changed
    ) -> None:
        self._cores = Cores(targets, security, clocks or ClockBook(clock_id()), link)
        self._departures = Departures(self.cancel_run)
        self._cores.start()

    async def close(self) -> None:
        """Close the channels; calls that are still open end as cancelled."""
        await self._departures.aclose()
        await self._cores.aclose()

    def stream_run(self, run: run_pb2.RunSpec, caller: Caller) -> StartCall:
        """Return the call that starts a run and streams its events."""
        return StartCall(self._cores, self._departures, caller, run)

    def follow_run(self, run_id: str, after: Cursor, caller: Caller) -> FollowCall:
        """Return the call that streams a run's events."""
        return FollowCall(self._cores, self._departures, caller, RunReader(run_id, after))

    async def start_run(self, run: run_pb2.RunSpec, caller: Caller) -> run_pb2.Run:
        """Start a run without following it and return its state."""
        await self._cores.learn()
        members = self._cores.for_start(session_of(run, caller))
        request = pb.StartRunRequest(run=run)
        timeout = StartTimeout(self._cores)
        for member in members[:-1]:
            try:
                async with self._cores.unless_silent(member, partial(timeout.gives_up, member)):
                    return _run(await member.core.unary("StartRun", request, caller))
            except UpstreamError as error:
                if not await starts_elsewhere(member, error):
                    raise
        last = members[-1]
        async with self._cores.unless_silent(last, partial(timeout.gives_up, last)):
            return _run(await last.core.unary("StartRun", request, caller))

    async def get_run(self, run_id: str, caller: Caller) -> run_pb2.Run:
        """Return a run's state."""
        return _run(await self._ask_for_run("GetRun", pb.GetRunRequest(run_id=run_id), caller))

    async def cancel_run(self, run_id: str, cause: pb.CancelCause.ValueType, caller: Caller) -> run_pb2.Run:
        """Cancel a run and return the state that came of it."""
        request = pb.CancelRunRequest(run_id=run_id, cause=cause)
        return _run(await self._ask_for_run("CancelRun", request, caller))

    async def send_input(self, request: pb.SendInputRequest, caller: Caller) -> pb.SendInputResponse:
        """Answer or decline a question of a run and return its outcome."""
        response: pb.SendInputResponse = await self._ask_for_run("SendInput", request, caller)
        return response

    async def list_runs(self, page: RunsPage, caller: Caller) -> pb.ListRunsResponse:
        """Return a page of a session's runs, newest first."""
        request = pb.ListRunsRequest(
            session_id=page.session_id, page_size=page.page_size, page_token=page.page_token
        )
        await self._cores.learn()
        # Where cores do not share their runs, this is also where the session's runs are started.
        members = self._cores.for_start(owned_key(caller.principal, page.session_id))
        response: pb.ListRunsResponse = await self._cores.ask_each(
            members, lambda core: core.unary("ListRuns", request, caller)
        )
        return response

    async def get_transcript(self, query: TranscriptQuery, caller: Caller) -> pb.GetTranscriptResponse:
        """Return a page of a session's turns."""
        order = pb.TRANSCRIPT_ORDER_NEWEST_FIRST if query.newest_first else pb.TRANSCRIPT_ORDER_OLDEST_FIRST
        request = pb.GetTranscriptRequest(
            session_id=query.session_id,
            page_size=query.page_size,
            page_token=query.page_token,
            order=order,
        )
        await self._cores.learn()
        # As with `list_runs`: where the session's runs are started, they are known.
        members = self._cores.for_start(owned_key(caller.principal, query.session_id))
        response: pb.GetTranscriptResponse = await self._cores.ask_each(
            members, lambda core: core.unary("GetTranscript", request, caller)
        )
        return response

    async def agents(self) -> list[str]:
        """Return the names of the agents that the cores run, a default one first.

        Raises:
            UpstreamError: UNAVAILABLE, no core answers.
        """
        await self._cores.ready()
        known = [member.status for member in self._cores.members if member.status is not None]
        if not known:
            raise UpstreamError("UNAVAILABLE")
        return [*dict.fromkeys(name for status in known for name in status.agents)]

    async def ready(self) -> bool:
        """Return whether a core can start runs now."""
        return await self._cores.ready()

    async def _ask_for_run(self, method: str, request: Any, caller: Caller) -> Any:
        """Return what a core answers that has the run."""
        await self._cores.learn()
        members = self._cores.for_run(request.run_id)
        return await self._cores.ask_each(members, lambda core: core.unary(method, request, caller))


def _run(response: Any) -> run_pb2.Run:
    run: run_pb2.Run = response.run
    return run
