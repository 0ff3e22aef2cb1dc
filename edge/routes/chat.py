"""POST /api/chat: a question, answered as a stream or as a run to follow."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, JSONBody
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from edge.errors import EdgeError
from edge.http.accept import preferred
from edge.http.authentication import principal_of
from edge.http.stream_policy import CONTENT_TYPE, HeartbeatKind, StreamLook
from edge.routes.context import EdgeContext, EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, EVENT_STREAM_RESPONSE, ChatRequest, RunAccepted, refusal
from edge.sse.event_id import named_event
from edge.telemetry.server_span import STREAMS, traceparent
from tokenwire.cursor import Cursor, EventId
from tokenwire.v1 import run_pb2

MAX_REQUEST_ID: Final = 128
"""The longest `Idempotency-Key`, in characters: it becomes the run's request_id."""

REQUEST_ID_BYTES: Final = 18
"""The random bytes of a request id that is the edge's own."""

_JSON: Final = "application/json"
_ANSWERS: Final = (CONTENT_TYPE, _JSON)
"""The media types of what a question is answered with: the stream first, to those that take either."""


@post(
    "/chat",
    status_code=200,
    opt={STREAMS: True},
    summary="Ask an agent",
    description="Starts a run and streams its events. If `Accept` prefers `application/json` to "
    "`text/event-stream`, the run is started, and its events can be read at `eventsUrl`. With "
    "`Last-Event-ID` an existing run is resumed, and none started. A request repeated with the same "
    "`Idempotency-Key` is answered with the run that the first one started.",
    responses={
        200: EVENT_STREAM_RESPONSE,
        202: ResponseSpec(RunAccepted, description="The run was started: follow it at `eventsUrl`."),
        **CHANGE_REFUSALS,
        404: refusal("Unknown agent; with `Last-Event-ID`, unknown run."),
        409: refusal(
            "Another answer of the session is still being written; or another request has used the "
            "`Idempotency-Key`."
        ),
    },
)
async def chat(  # noqa: PLR0913, PLR0917 # one parameter for each part of the request
    request: Request[Any, Any, Any],
    data: JSONBody[ChatRequest],
    edge: EdgeDependency,
    heartbeat: FromQuery[HeartbeatKind] = "comment",
    timing: FromQuery[bool] = False,  # noqa: FBT002 # a parameter of the URL
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key", min_length=1, max_length=MAX_REQUEST_ID, pattern=r"^[^\x00-\x1f\x7f]*$"
        ),
    ] = None,
) -> ASGIApp:
    """Start a run and stream it; or resume one; or start one to be followed elsewhere."""
    del last_event_id  # of several, only one is told here
    if reached := named_event("Last-Event-ID", request.headers.getall("last-event-id", [])):
        return await _resume(request, edge, reached, StreamLook(heartbeat, timing))
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", "This server is going down. Try again.", retry_after_s=1)
    run = data.to_run_spec()
    # Without a key of the client's, the edge's own makes it safe to ask a second core.
    run.request_id = idempotency_key or secrets.token_urlsafe(REQUEST_ID_BYTES)
    if preferred(", ".join(request.headers.getall("accept", [])), _ANSWERS) == _JSON:
        return await _accept(request, edge, run)
    return edge.start_stream(request, run, StreamLook(heartbeat, timing))


async def _accept(request: Request[Any, Any, Any], edge: EdgeContext, run: run_pb2.RunSpec) -> ASGIResponse:
    """Start a run that is followed elsewhere."""
    edge.limits.count_start(principal_of(request))
    started = await edge.upstream.start_run(run, caller_of(request))
    location = f"/api/runs/{started.run_id}"
    headers = {"location": location, "run-id": started.run_id, "cache-control": "no-store"}
    if parent := traceparent(request.scope):
        headers["traceparent"] = parent
    return ASGIResponse(
        body=msgspec.json.encode(RunAccepted(started.run_id, f"{location}/events")),
        status_code=202,
        headers=headers,
    )


async def _resume(
    request: Request[Any, Any, Any], edge: EdgeContext, reached: EventId, look: StreamLook
) -> ASGIApp:
    """Go on with the run that the id names: a client that repeats its POST wants no second one."""
    run_id, after = reached
    run = await edge.run_to_follow(request, run_id)
    if run is None:
        return edge.come_back_later()
    if run.state == run_pb2.RUN_STATE_ENDED and after >= (run.last.epoch, run.last.sequence):
        # A POST has no "204: there is nothing more": the terminal event is told again.
        after = Cursor(run.last.epoch, run.last.sequence - 1)
    return edge.follow_stream(request, run_id, after, look)
