"""/api/sessions/{sessionId}: what was asked in a conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from litestar import Request, get
from litestar.params import FromQuery, PathParameter, QueryParameter

from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import REFUSALS
from edge.upstream import RunsPage, TranscriptQuery
from tokenwire.runs import SessionRuns, Transcript, turn_of, view_of

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
PAGE_PATTERN = r"^([0-9]{1,20}\.[0-9a-z]{30})?$"
"""What a core gives as `nextPageToken`."""


SessionIdInPath: TypeAlias = Annotated[
    str,
    PathParameter(
        description="Session id, chosen by the client.",
        schema_extra={"pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}$"},
    ),
]
PageSize: TypeAlias = Annotated[int, QueryParameter(name="pageSize", ge=1, le=MAX_PAGE_SIZE)]
PageToken: TypeAlias = Annotated[
    str, QueryParameter(name="pageToken", max_length=128, schema_extra={"pattern": PAGE_PATTERN})
]


@get(
    "/sessions/{session_id:str}/runs",
    summary="List the runs of a session",
    description="Newest first. After a reload, the newest one tells whether an answer is still being "
    "written. An unknown session has no runs.",
    responses=REFUSALS,
)
async def session_runs(
    request: Request[Any, Any, Any],
    session_id: SessionIdInPath,
    edge: EdgeDependency,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = "",
) -> SessionRuns:
    """Return a page of a session's runs."""
    page = RunsPage(session_id, page_size, page_token)
    response = await edge.upstream.list_runs(page, caller_of(request))
    return SessionRuns([view_of(run) for run in response.runs], response.next_page_token)


@get(
    "/sessions/{session_id:str}/transcript",
    summary="List the turns of a session",
    description="The user's messages and the answers to them, oldest first: for showing a conversation again "
    "after a reload, in a second tab or on another device. If a turn has no text, follow its run. "
    "`order=newest` begins with the newest turn. A page has at most 3 MiB of text, so it may have fewer "
    "turns than `pageSize`. An unknown session has no turns.",
    responses=REFUSALS,
)
async def transcript(  # noqa: PLR0913, PLR0917 - one parameter for each part of the request
    request: Request[Any, Any, Any],
    session_id: SessionIdInPath,
    edge: EdgeDependency,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = "",
    order: FromQuery[Literal["oldest", "newest"]] = "oldest",
) -> Transcript:
    """Return a page of a session's turns."""
    query = TranscriptQuery(session_id, page_size, page_token, newest_first=order == "newest")
    response = await edge.upstream.get_transcript(query, caller_of(request))
    return Transcript([turn_of(turn) for turn in response.turns], response.next_page_token)
