"""/runs/{runId}/inputs/{inputId}: the answer to a question that a run asks a person."""

from __future__ import annotations

import http
import secrets
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from litestar import Request, post
from litestar.params import HeaderParameter, JSONBody, PathParameter

from edge.errors import EdgeError, RequestError, UpstreamError
from edge.routes.context import EdgeDependency, caller_of
from edge.routes.requests import CHANGE_REFUSALS, RunIdInPath, refusal
from edge.sse.event_id import check_run_id
from tokenwire.reasons import Reason
from tokenwire.translate import INPUT_OUTCOME
from tokenwire.v1 import agent_service_pb2

INPUT_ID: Final = "[A-Za-z0-9._~-]{1,128}"
REQUEST_ID_BYTES: Final = 16

InputIdInPath: TypeAlias = Annotated[
    str,
    PathParameter(
        description="`inputId` of the event `input_requested`.", schema_extra={"pattern": f"^{INPUT_ID}$"}
    ),
]


class InputAnswer(msgspec.Struct, rename="camel"):
    """The answer: a value, or that the question is declined."""

    value: Any = None
    """The value: for `approval` true or false, for `choice` one of the options, for `text` a string, for
    `json` any JSON value that fits the schema."""
    decline: bool = False
    """True to decline the question."""


class _Exact(msgspec.Struct):
    """The same body as it was sent: no number of the value is rounded, and 0 is no boolean."""

    value: msgspec.Raw = msgspec.Raw()  # it can't be changed
    decline: bool = False


class InputClosed(msgspec.Struct, rename="camel"):
    """How a question was closed."""

    input_id: str
    """The question."""
    outcome: str
    """answered or declined."""


class InputConflictError(EdgeError):
    """The question takes no answer any more."""

    @property
    def http_status(self) -> int:
        """The HTTP status: the code's own is that of a request that is wrong in itself."""
        return http.HTTPStatus.CONFLICT


@post(
    "/runs/{run_id:str}/inputs/{input_id:str}",
    status_code=200,
    summary="Answer a question of a run",
    description="Answers the question of an event `input_requested`, or declines it. The first answer "
    "counts. If its response was lost, repeat it with the same `Idempotency-Key` to get the same response.",
    responses={
        **CHANGE_REFUSALS,
        400: refusal(
            "Invalid request, or the question does not accept the value: `details.field` is `value`."
        ),
        404: refusal("Unknown run, or unknown question: `details.reason` is `INPUT_UNKNOWN`."),
        409: refusal(
            "The question was answered or declined, has expired, or its run has ended. `details.outcome` "
            "says how it was closed, if that is known."
        ),
    },
)
async def send_input(  # noqa: PLR0913, PLR0917 - one parameter for each part of the request
    request: Request[Any, Any, Any],
    run_id: RunIdInPath,
    input_id: InputIdInPath,
    data: JSONBody[InputAnswer],
    edge: EdgeDependency,
    idempotency_key: Annotated[str | None, HeaderParameter(name="Idempotency-Key")] = None,
) -> InputClosed:
    """Answer or decline a question, and tell its outcome."""
    sent = agent_service_pb2.SendInputRequest(
        run_id=check_run_id(run_id),
        input_id=input_id,
        # One of its own where the client gives none: this edge may have to ask a second core.
        request_id=idempotency_key or secrets.token_hex(REQUEST_ID_BYTES),
    )
    del data  # It is in the OpenAPI document; Litestar takes 0 for false and 1 for true in it.
    _set_answer(sent, await request.body())
    try:
        response = await edge.upstream.send_input(sent, caller_of(request))
    except UpstreamError as error:
        raise _refusal_of(error) from error
    return InputClosed(response.input_id, INPUT_OUTCOME.get(response.outcome, "expired"))


def _set_answer(sent: agent_service_pb2.SendInputRequest, body: bytes) -> None:
    """Put what the body says into the request of the core.

    Raises:
        RequestError: It says nothing, or two things, or `decline` is no boolean.
    """
    try:
        answer = msgspec.json.decode(body, type=_Exact)
    except msgspec.ValidationError as error:
        text = "`decline` must be true or false."
        raise RequestError("INVALID_ARGUMENT", text, details={"field": "decline"}) from error
    value_json = bytes(answer.value)
    if answer.decline == bool(value_json):
        raise RequestError(
            "INVALID_ARGUMENT", "Send a `value`, or `decline`: true.", details={"field": "value"}
        )
    if answer.decline:
        sent.decline = True
    else:
        sent.value_json = value_json.decode()


def _refusal_of(error: UpstreamError) -> EdgeError:
    """Return what a client is told of a core's refusal."""
    details = error.details
    if details.get("reason") == Reason.INPUT_CLOSED:
        return InputConflictError(error.code, error.message, retryable=False, details=details)
    if details.get("field") == "valueJson":
        message = f"value: {details.get('violation', 'is not accepted')}"
        return RequestError(error.code, message, details={**details, "field": "value"})
    return error
