"""/runs/{runId}: a run's events, its state, and Stop."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from edge.http.authentication import TAKES_TICKETS
from edge.http.head import is_head
from edge.http.stream_policy import HeartbeatKind, StreamLook
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import (
    CHANGE_REFUSALS,
    EVENT_STREAM_RESPONSE,
    RUN_REFUSALS,
    RunIdInPath,
)
from edge.sse.event_id import check_run_id, resume_position
from edge.telemetry.server_span import STREAMS
from tokenwire.cursor import START
from tokenwire.runs import RunView, view_of
from tokenwire.telemetry.metrics.instruments import BY_CLIENT, RESUMES
from tokenwire.v1 import agent_service_pb2, run_pb2


@get(
    "/runs/{run_id:str}/events",
    summary="Follow a run",
    description="Streams the events of the run after the given event id; without one, from the first event. "
    "`Last-Event-ID` has precedence, then `lastEventId`, then `after`; each one must be an event id of this "
    "run. Answers 204 if it is that of the terminal event: an `EventSource` then stops. `ticket` replaces "
    "the Authorization header, which an `EventSource` can't send.",
    opt={TAKES_TICKETS: True, STREAMS: True},
    responses={
        200: EVENT_STREAM_RESPONSE,
        204: ResponseSpec(None, description="The event id is that of the terminal event."),
        **RUN_REFUSALS,
    },
)
async def follow(  # noqa: PLR0913, PLR0917 - one parameter for each part of the request
    request: Request[Any, Any, Any],
    run_id: RunIdInPath,
    edge: EdgeDependency,
    after: Annotated[str | None, QueryParameter(description="Id of the last event received.")] = None,
    last_event_id_in_query: Annotated[
        str | None, QueryParameter(name="lastEventId", description="The same, from `event-source-polyfill`.")
    ] = None,
    heartbeat: FromQuery[HeartbeatKind] = "comment",
    timing: FromQuery[bool] = False,  # noqa: FBT002 # a parameter of the URL
    ticket: FromQuery[str | None] = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> ASGIApp:
    """Follow a run, or resume following it."""
    del ticket  # the guard has looked at it
    del after, last_event_id_in_query, last_event_id  # of several of one name, only one is told here
    query = request.query_params
    given = {
        "Last-Event-ID": request.headers.getall("last-event-id", []),
        "lastEventId": query.getall("lastEventId", []),
        "after": query.getall("after", []),
    }
    cursor = resume_position(check_run_id(run_id), given)
    run = await edge.run_to_follow(request, run_id)
    if run is None:
        return edge.come_back_later()
    if run.state == run_pb2.RUN_STATE_ENDED and cursor == (run.last.epoch, run.last.sequence):
        return ASGIResponse(status_code=204)
    if cursor != START and not is_head(request.scope):
        RESUMES.add(1, BY_CLIENT)
    return edge.follow_stream(request, run_id, cursor, StreamLook(heartbeat, timing))


@get("/runs/{run_id:str}", summary="Get the state of a run", responses=RUN_REFUSALS)
async def state(request: Request[Any, Any, Any], run_id: RunIdInPath, edge: EdgeDependency) -> RunView:
    """Tell what is known of a run."""
    return view_of(await edge.upstream.get_run(check_run_id(run_id), caller_of(request)))


@post(
    "/runs/{run_id:str}/cancel",
    status_code=200,
    summary="Stop a run",
    description="Stops the agent and its model at once. Idempotent: a run that has ended is left as it is.",
    responses=CHANGE_REFUSALS,
)
async def cancel(request: Request[Any, Any, Any], run_id: RunIdInPath, edge: EdgeDependency) -> RunView:
    """Stop a run and tell the state that came of it."""
    run = await edge.upstream.cancel_run(
        check_run_id(run_id), agent_service_pb2.CANCEL_CAUSE_STOP, caller_of(request)
    )
    return view_of(run)
