"""/api/ag-ui: AG-UI, for `HttpAgent`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from edge.errors import EdgeError
from edge.http.head import is_head
from edge.http.problem import REFUSAL_FORM
from edge.http.stream_policy import CONTENT_TYPE, StreamLook
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, RUN_REFUSALS, RunIdInPath
from edge.routes.text_refusals import in_text, text_form, text_refusal
from edge.sse.dialects.ag_ui import AgUiDialect, FrameCursor, parse_frame_id
from edge.sse.dialects.ag_ui_request import RunAgentInput, question_of, request_id_of
from edge.sse.dialects.conversation import history_of
from edge.sse.event_id import check_run_id
from edge.telemetry.server_span import STREAMS
from tokenwire.cursor import START
from tokenwire.runs import ON_DISCONNECT, OnDisconnect
from tokenwire.telemetry.metrics.instruments import BY_CLIENT, RESUMES
from tokenwire.v1 import run_pb2

_LOOK: Final = StreamLook()
_OPTIONS: Final = {STREAMS: True, REFUSAL_FORM: text_form}
_STREAM: Final = ResponseSpec(
    str,
    description="AG-UI events: one per frame, each with an id.",
    media_type=CONTENT_TYPE,
    generate_examples=False,
)
_GOING_DOWN: Final = "This server is going down. Try again."


@post(
    "/ag-ui",
    status_code=200,
    opt=_OPTIONS,
    summary="Ask an agent (AG-UI)",
    description="Takes a `RunAgentInput`, starts a run and streams its events as AG-UI's. The last message "
    "is the question; if there are more, these are the conversation, else what the session of the thread "
    "remembers. A request that is sent twice is answered with one run. `Run-Id` has the run's own id.",
    responses={
        200: _STREAM,
        **in_text(CHANGE_REFUSALS),
        409: text_refusal("Another answer of the thread is still being written."),
    },
)
async def run_agent(
    request: Request[Any, Any, Any],
    data: JSONBody[RunAgentInput],
    edge: EdgeDependency,
    agent: Annotated[str, QueryParameter(max_length=64, description="The agent to ask.")] = "",
    on_disconnect: Annotated[
        OnDisconnect,
        QueryParameter(name="onDisconnect", description="What becomes of the run when its reader leaves."),
    ] = "grace",
) -> ASGIApp:
    """Start a run and stream it."""
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", _GOING_DOWN, retry_after_s=1)
    question = question_of(data)
    run = run_pb2.RunSpec(
        message=question.text,
        session_id=data.thread_id,
        agent=agent,
        on_disconnect=ON_DISCONNECT[on_disconnect],
    )
    if question.history is not None:
        run.history.CopyFrom(history_of(question.history))
    run.request_id = request_id_of(data, run)
    return edge.start_stream(request, run, _LOOK, AgUiDialect(data.thread_id, data.run_id))


@get(
    "/ag-ui/runs/{run_id:str}",
    opt=_OPTIONS,
    summary="Follow a run (AG-UI)",
    description="Streams the events of a run after the given frame; without one, from the first. `runId` is "
    "the run as the client calls it, and stands in the events. Answers 204 if the frame is the last one.",
    responses={
        200: _STREAM,
        204: ResponseSpec(None, description="The frame is the last one of the run."),
        **in_text(RUN_REFUSALS),
    },
)
async def follow(  # one parameter for each part of the request
    request: Request[Any, Any, Any],
    run_id: RunIdInPath,
    edge: EdgeDependency,
    after: Annotated[str, QueryParameter(max_length=128, description="Id of the last frame received.")] = "",
    client_run_id: Annotated[str, QueryParameter(name="runId", max_length=256)] = "",
) -> ASGIApp:
    """Follow a run, or resume following it."""
    cursor = parse_frame_id(after, check_run_id(run_id)) if after else FrameCursor()
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", _GOING_DOWN, retry_after_s=1)
    run = await edge.upstream.get_run(check_run_id(run_id), caller_of(request))
    last = (run.last.epoch, run.last.sequence, 0)
    if run.state == run_pb2.RUN_STATE_ENDED and cursor == last:
        return ASGIResponse(status_code=204)
    if after and not is_head(request.scope):
        RESUMES.add(1, BY_CLIENT)
    return edge.follow_stream(request, run_id, START, _LOOK, AgUiDialect("", client_run_id, cursor))
