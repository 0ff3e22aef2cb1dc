"""/api/ai-sdk: the AI SDK's chat, for `useChat` with `DefaultChatTransport` or `WorkflowChatTransport`."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Final, TypeAlias

from litestar import Request, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from edge.errors import EdgeError, UpstreamError
from edge.http.head import is_head
from edge.http.problem import REFUSAL_FORM
from edge.http.stream_policy import CONTENT_TYPE, StreamLook
from edge.routes.chat import MAX_REQUEST_ID, REQUEST_ID_BYTES
from edge.routes.chunk_count import count_chunks
from edge.routes.context import EdgeContext, EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, REFUSALS
from edge.sse.dialects import AiSdkDialect
from edge.sse.dialects.ai_sdk_request import AiSdkChatRequest, question_of, request_id_of
from edge.sse.dialects.conversation import history_of
from edge.telemetry.server_span import STREAMS
from edge.upstream import RunsPage
from tokenwire.cursor import START, is_run_id
from tokenwire.runs import ON_DISCONNECT, OnDisconnect
from tokenwire.telemetry.metrics.instruments import BY_CLIENT, RESUMES
from tokenwire.v1 import agent_service_pb2, run_pb2

REPLAY_S: Final = 60.0
"""How long after its end a chat's newest run is replayed to a page that asks for what is live: one that was
reloaded just before the end has not seen it."""

MAX_START_INDEX: Final = 2**31 - 1

_LOOK: Final = StreamLook()
_TEXT: Final = "text/plain"


def _text_form(error: EdgeError) -> tuple[bytes, str]:
    """Return a refusal as the AI SDK's clients know it: they show the whole body as the error's message."""
    return error.message.encode(), _TEXT


def _in_text(refusals: dict[int, ResponseSpec]) -> dict[int, ResponseSpec]:
    """Return how refusals are documented: what is wrong, as text for users."""
    return {
        status: ResponseSpec(str, description=spec.description, media_type=_TEXT, generate_examples=False)
        for status, spec in refusals.items()
    }


_OPTIONS: Final = {STREAMS: True, REFUSAL_FORM: _text_form}
_STREAM: Final = ResponseSpec(
    str,
    description="A UI message stream: one chunk per `data` line, then `[DONE]`.",
    media_type=CONTENT_TYPE,
    generate_examples=False,
)

ChatId: TypeAlias = Annotated[str, PathParameter(description="Chat id, as in the body's `id`; or a run id.")]


@post(
    "/ai-sdk/chat",
    status_code=200,
    opt=_OPTIONS,
    summary="Ask an agent (AI SDK)",
    description="Takes the body of the AI SDK's `DefaultChatTransport`, starts a run and streams it as a UI "
    "message stream. The last message is the question; if the body has more messages, these are the "
    "conversation, else what the session remembers. The header `x-workflow-run-id` names the run. A request "
    "that is sent twice is answered with one run.",
    responses={
        200: _STREAM,
        **_in_text(CHANGE_REFUSALS),
        409: ResponseSpec(
            str,
            description="Another answer of the chat is still being written.",
            media_type=_TEXT,
            generate_examples=False,
        ),
    },
)
async def chat(  # noqa: PLR0913, PLR0917 # one parameter for each part of the request
    request: Request[Any, Any, Any],
    data: JSONBody[AiSdkChatRequest],
    edge: EdgeDependency,
    agent: Annotated[str, QueryParameter(max_length=64, description="The agent to ask.")] = "",
    on_disconnect: Annotated[
        OnDisconnect,
        QueryParameter(name="onDisconnect", description="What becomes of the run when its reader leaves."),
    ] = "grace",
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key", min_length=1, max_length=MAX_REQUEST_ID, pattern=r"^[^\x00-\x1f\x7f]*$"
        ),
    ] = None,
) -> ASGIApp:
    """Start a run and stream it."""
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", "This server is going down. Try again.", retry_after_s=1)
    question = question_of(data)
    run = run_pb2.RunSpec(
        message=question.text, session_id=data.id, agent=agent, on_disconnect=ON_DISCONNECT[on_disconnect]
    )
    if question.history is not None:
        run.history.CopyFrom(history_of(question.history))
    run.request_id = idempotency_key or await _request_id(request, edge, data, run)
    return edge.start_stream(request, run, _LOOK, AiSdkDialect())


@get(
    "/ai-sdk/chat/{chat_id:str}/stream",
    opt=_OPTIONS,
    summary="Resume a chat (AI SDK)",
    description="For `useChat` with `resume`, and for `WorkflowChatTransport`. With a chat's id, streams the "
    "chat's newest run from its first chunk, while it is running and for 60 s after its end; otherwise "
    "answers 204. With a run's id, streams that run. `startIndex` leaves out as many chunks, or, if it is "
    "negative, all but as many of those that there are.",
    responses={
        200: _STREAM,
        204: ResponseSpec(None, description="The chat has no answer that is being written."),
        **_in_text(REFUSALS),
        404: ResponseSpec(str, description="Unknown run.", media_type=_TEXT, generate_examples=False),
        410: ResponseSpec(
            str,
            description="The run's log was lost with its core.",
            media_type=_TEXT,
            generate_examples=False,
        ),
    },
)
async def resume(
    request: Request[Any, Any, Any],
    chat_id: ChatId,
    edge: EdgeDependency,
    start_index: Annotated[
        int, QueryParameter(name="startIndex", ge=-MAX_START_INDEX, le=MAX_START_INDEX)
    ] = 0,
) -> ASGIApp:
    """Stream the chat's newest run again, or a run from a chunk on."""
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", "This server is going down. Try again.", retry_after_s=1)
    run = await _run_to_resume(request, edge, chat_id)
    if run is None:
        return ASGIResponse(status_code=204)
    tail_index = None
    if start_index < 0:
        tail_index = await count_chunks(edge.upstream, run, caller_of(request)) - 1
        start_index = max(0, tail_index + 1 + start_index)
    if not is_head(request.scope):
        RESUMES.add(1, BY_CLIENT)
    dialect = AiSdkDialect(start_index=start_index, tail_index=tail_index)
    return edge.follow_stream(request, run.run_id, START, _LOOK, dialect)


@post(
    "/ai-sdk/chat/{chat_id:str}/stop",
    status_code=204,
    opt={REFUSAL_FORM: _text_form},
    summary="Stop a chat's answer (AI SDK)",
    description="Stops the run of the chat that is being written, if there is one. The AI SDK's own "
    "`stop` only ends the connection.",
    responses={
        204: ResponseSpec(None, description="No answer is being written now."),
        **_in_text(CHANGE_REFUSALS),
    },
)
async def stop(request: Request[Any, Any, Any], chat_id: ChatId, edge: EdgeDependency) -> None:
    """Stop the chat's run that goes on."""
    for run in await _newest_runs(request, edge, chat_id, 1):
        if run.state != run_pb2.RUN_STATE_ENDED:
            await edge.upstream.cancel_run(
                run.run_id, agent_service_pb2.CANCEL_CAUSE_STOP, caller_of(request)
            )


async def _request_id(
    request: Request[Any, Any, Any], edge: EdgeContext, data: AiSdkChatRequest, run: run_pb2.RunSpec
) -> str:
    """Return what makes it safe to send the question twice: to a second core at least."""
    # Of the two newest runs of a session one has ended: only one goes on at a time.
    runs = await _newest_runs(request, edge, data.id, 2) if data.id else []
    return request_id_of(data, run, runs) or secrets.token_urlsafe(REQUEST_ID_BYTES)


async def _newest_runs(
    request: Request[Any, Any, Any], edge: EdgeContext, session_id: str, count: int
) -> list[run_pb2.Run]:
    """Return the newest runs of a session, newest first."""
    page = RunsPage(session_id, count, "")
    return [*(await edge.upstream.list_runs(page, caller_of(request))).runs]


async def _run_to_resume(
    request: Request[Any, Any, Any], edge: EdgeContext, chat_id: str
) -> run_pb2.Run | None:
    """Return the run that an id means; None where a chat has none that a page should show.

    Raises:
        UpstreamError: There is no such run, or it was lost.
    """
    unknown: UpstreamError | None = None
    if is_run_id(chat_id):
        try:
            return await edge.upstream.get_run(chat_id, caller_of(request))
        except UpstreamError as error:
            if error.code not in {"NOT_FOUND", "DATA_LOSS"}:
                raise
            unknown = error
    runs = await _newest_runs(request, edge, chat_id, 1)
    if not runs and unknown is not None:
        raise unknown
    return next((run for run in runs if _is_shown(run)), None)


def _is_shown(run: run_pb2.Run) -> bool:
    """Return whether a page that was just loaded is to show a run as it is written."""
    return run.state != run_pb2.RUN_STATE_ENDED or time.time() - run.end_time.ToSeconds() <= REPLAY_S
