"""/api/sessions/{sessionId}: what was asked in a conversation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.params import PathParameter, QueryParameter

from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import REFUSALS, RunView, view_of
from edge.upstream import RunsPage

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
PAGE_PATTERN = r"^([0-9]{1,20}\.[0-9a-z]{30})?$"
"""What a core gives as `nextPageToken`."""


class SessionRuns(msgspec.Struct, rename="camel"):
    """A session's runs, newest first."""

    runs: list[RunView]
    """The runs."""
    next_page_token: str
    """Asks for the next page, as `pageToken`; empty on the last."""


@get(
    "/sessions/{session_id:str}/runs",
    summary="List a session's runs",
    description="Newest first: to find the one that still goes on after a reload. A session of which nothing "
    "is known has none.",
    responses=REFUSALS,
)
async def session_runs(
    request: Request[Any, Any, Any],
    session_id: Annotated[
        str,
        PathParameter(
            description="The session's id, as its client chose it.",
            schema_extra={"pattern": "^[A-Za-z0-9._~:@-]{1,128}$"},
        ),
    ],
    edge: EdgeDependency,
    page_size: Annotated[int, QueryParameter(name="pageSize", ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    page_token: Annotated[
        str, QueryParameter(name="pageToken", max_length=128, schema_extra={"pattern": PAGE_PATTERN})
    ] = "",
) -> SessionRuns:
    """Return a page of a session's runs."""
    page = RunsPage(session_id, page_size, page_token)
    response = await edge.upstream.list_runs(page, caller_of(request))
    return SessionRuns([view_of(run) for run in response.runs], response.next_page_token)
