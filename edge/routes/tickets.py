"""/runs/{runId}/ticket: what opens a run's events to an `EventSource`, which can't send a header."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, post

from edge.http.authentication import principal_of
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, RunIdInPath
from edge.sse.event_id import check_run_id


class RunTicket(msgspec.Struct, rename="camel"):
    """What opens a run's events, and nothing else."""

    ticket: str
    """The ticket, for `?ticket=`."""
    events_url: str
    """Where the run's events stream, with the ticket in it: for an `EventSource`."""
    expires_at: str
    """Until when the stream can be opened, and opened again: RFC 3339. One that is open then goes on."""


@post(
    "/runs/{run_id:str}/ticket",
    status_code=200,
    summary="Make a ticket for an EventSource",
    description="A ticket lets its holder read the events of one run, any number of times until it expires. "
    "It permits nothing else.",
    responses=CHANGE_REFUSALS,
)
async def ticket(
    request: Request[Any, Any, Any], run_id: RunIdInPath, edge: EdgeDependency
) -> Response[RunTicket]:
    """Make a ticket for a caller who may follow the run."""
    run = await edge.upstream.get_run(check_run_id(run_id), caller_of(request))
    made = edge.tickets.issue(principal_of(request), run.run_id)
    expire = datetime.fromtimestamp(made.expire_unix_s, UTC).isoformat(timespec="seconds")
    return Response(
        RunTicket(made.text, f"/api/runs/{run.run_id}/events?ticket={made.text}", expire),
        headers={"cache-control": "no-store"},
    )
