"""/v1: OpenAI's Chat Completions, and the agents as its models."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import HeaderParameter, JSONBody
from litestar.types import ASGIApp

from edge.errors import EdgeError
from edge.http.problem import REFUSAL_FORM, RefusalBody
from edge.http.stream_policy import CONTENT_TYPE, StreamLook
from edge.http.stream_slot import StreamSlot
from edge.http.whole_answer import WholeAnswer
from edge.routes.chat import MAX_REQUEST_ID, REQUEST_ID_BYTES
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, REFUSALS
from edge.sse.dialects.conversation import history_of
from edge.sse.dialects.openai import Completion, ErrorBody, ErrorDocument, OpenAiDialect, WholeCompletion
from edge.sse.dialects.openai_request import CompletionRequest, question_of
from edge.telemetry.server_span import STREAMS
from tokenwire.reasons import Reason
from tokenwire.v1 import run_pb2

OWNER: Final = "tokenwire"

_JSON: Final = "application/json"
_TYPE: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Their word for a refusal, by its status. All others are the request's fault, or the server's."""
_SERVER_ERROR: Final = 500


class Model(msgspec.Struct):
    """An agent, as their clients list it."""

    id: str
    """The agent's name: the `model` of a request."""
    object: str = "model"
    created: int = 0
    """Unknown: 0."""
    owned_by: str = OWNER


class Models(msgspec.Struct):
    """The agents, a default one first."""

    data: list[Model]
    object: str = "list"


def _openai_form(error: EdgeError, status: int) -> RefusalBody:
    """Return a refusal in their form. Their clients retry by themselves, unless they are told not to."""
    kind = _TYPE.get(status, "server_error" if status >= _SERVER_ERROR else "invalid_request_error")
    param, code = error.details.get("field"), error.code
    if error.details.get("reason") == Reason.AGENT_UNKNOWN:
        param, code = "model", "model_not_found"
    document = msgspec.json.encode(ErrorDocument(ErrorBody(error.message, kind, param, code)))
    return RefusalBody(document, _JSON, {"x-should-retry": "true" if error.retryable else "false"})


def _in_their_form(refusals: dict[int, ResponseSpec]) -> dict[int, ResponseSpec]:
    """Return how refusals are documented."""
    return {
        status: ResponseSpec(ErrorDocument, description=spec.description, generate_examples=False)
        for status, spec in refusals.items()
    }


@dataclass
class _CompletionsOperation(Operation):
    """Has the stream beside the whole answer: Litestar knows one media type for each status."""

    def __post_init__(self) -> None:
        for status, response in (self.responses or {}).items():
            if status == "200" and isinstance(response, OpenAPIResponse) and response.content is not None:
                response.content[CONTENT_TYPE] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


@post(
    "/chat/completions",
    status_code=200,
    opt={STREAMS: True, REFUSAL_FORM: _openai_form},
    summary="Ask an agent (OpenAI)",
    operation_class=_CompletionsOperation,
    description="Chat Completions: the model is the agent, the messages are the conversation. Messages of "
    "the system and of tools are left out, and other parameters are ignored. With `stream`, the answer is "
    "streamed as `chat.completion.chunk` objects. The run is stopped when its client leaves.",
    responses={
        200: ResponseSpec(
            Completion,
            description="The answer. With `stream`: one chunk per `data` line, then `[DONE]`.",
            generate_examples=False,
        ),
        **_in_their_form(CHANGE_REFUSALS),
        404: ResponseSpec(ErrorDocument, description="Unknown agent.", generate_examples=False),
        409: ResponseSpec(
            ErrorDocument,
            description="Another request has used the `Idempotency-Key`.",
            generate_examples=False,
        ),
        499: ResponseSpec(ErrorDocument, description="The run was cancelled.", generate_examples=False),
    },
)
async def completions(
    request: Request[Any, Any, Any],
    data: JSONBody[CompletionRequest],
    edge: EdgeDependency,
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key", min_length=1, max_length=MAX_REQUEST_ID, pattern=r"^[^\x00-\x1f\x7f]*$"
        ),
    ] = None,
) -> ASGIApp:
    """Start a run and stream it, or answer with the whole of it."""
    if edge.drain.started:
        raise EdgeError("UNAVAILABLE", "This server is going down. Try again.", retry_after_s=1)
    question = question_of(data)
    run = run_pb2.RunSpec(
        message=question.text,
        agent=data.model,
        on_disconnect=run_pb2.ON_DISCONNECT_CANCEL,
        request_id=idempotency_key or secrets.token_urlsafe(REQUEST_ID_BYTES),
        history=history_of(question.history or ()),
    )
    if data.stream:
        return edge.start_stream(request, run, StreamLook(), OpenAiDialect(include_usage=data.include_usage))
    caller = caller_of(request)
    slot = StreamSlot(edge.limits, starts=True, for_event_source=False)
    return WholeAnswer(lambda: edge.upstream.stream_run(run, caller), WholeCompletion(), slot)


@get(
    "/models",
    opt={REFUSAL_FORM: _openai_form},
    summary="List the agents (OpenAI)",
    description="The names of the agents, as models; a default one first.",
    responses=_in_their_form(REFUSALS),
)
async def models(edge: EdgeDependency) -> Models:
    """Return the agents."""
    return Models([Model(name) for name in await edge.upstream.agents()])
