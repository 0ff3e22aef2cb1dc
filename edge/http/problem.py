"""Problem documents: how a refused request is answered.

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import http
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, ValidationException
from litestar.response.base import ASGIResponse
from litestar.types import ExceptionHandlersMap, HTTPScope, Scope

from edge.errors import HTTP_STATUS, EdgeError
from edge.http.authentication import principal_of
from edge.http.head import method_of
from edge.telemetry.server_span import server_span, trace_id, traceparent
from tokenwire.logs import log_fields
from tokenwire.rate import Rate
from tokenwire.telemetry.trace_ids import new_trace_id

MEDIA_TYPE: Final = "application/problem+json"
REFUSAL_FORM: Final = "tokenwire_refusal_form"
"""The option of a route handler whose clients know no problem documents: `opt={REFUSAL_FORM: form}`."""

RefusalForm: TypeAlias = Callable[[EdgeError], tuple[bytes, str]]
"""Returns the body that tells of a failure, and its media type."""

_CLIENT_CLOSED_REQUEST: Final = 499
_CODE_OF_STATUS: Final[Mapping[int, str]] = {
    **{status: code for code, status in reversed(list(HTTP_STATUS.items()))},
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
}
"""The code that stands for a status that the framework chose."""

_FIELD: Final = re.compile(r"required field `([^`]+)`|at `\$\.([^`]+)`")
"""How msgspec names the field that is wrong."""

LOGGED_PER_S: Final = 100
"""How many refusals a second are logged at level info, the others at debug: somebody who sends nothing else
must not fill the log."""

LOGGED_PATH_CHARS: Final = 100
"""How much is logged of the path of a request that no route serves."""

_logged: Final = Rate(LOGGED_PER_S)

logger = logging.getLogger(__name__)


class Problem(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A refused request."""

    type: str
    """`urn:tokenwire:error:` and the code."""
    title: str
    """The HTTP status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong, fit for a user."""
    code: str
    """The canonical gRPC code's name."""
    retryable: bool
    """True when the same request may succeed if it is sent again."""
    details: dict[str, str] = {}
    """Further facts for programs, such as the `field` that is wrong."""
    trace_id: str = ""
    """32 hex digits that the server's log knows the request by: its trace, where it is traced."""


def problem(error: EdgeError, scope: Scope, *, status: int | None = None) -> ASGIResponse:
    """Return the raw ASGI response that tells of a failure.

    Args:
        error: What went wrong.
        scope: The request's scope, for its trace id.
        status: The HTTP status, where it is not the code's own.
    """
    status = status or error.http_status
    _log(error, status, scope)
    body, media_type = _body(error, status, scope)
    return ASGIResponse(
        body=body,
        media_type=media_type,
        status_code=status,
        headers={**_headers(error, status), **_trace_headers(scope)},
    )


def raw_problem(error: EdgeError, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a whole HTTP/1.1 response, for where no request can be answered. The connection closes after it.

    Args:
        error: What went wrong.
        status: The HTTP status.
        headers: Those of every response of this server.
    """
    known_as = new_trace_id()
    _log_line("a request", error, status, {"trace_id": known_as})
    document = _encode(error, status, known_as)
    lines = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(document)),
        "connection": "close",
        **_headers(error, status),
    }
    head = b"HTTP/1.1 %d %b\r\n" % (status, _phrase(status).encode())
    head += b"".join(b"%b: %b\r\n" % line for line in headers)
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
    return head + b"\r\n" + document


def _problem(
    error: EdgeError, scope: Scope, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Return the same for Litestar's exception handlers."""
    status = status or error.http_status
    _log(error, status, scope)
    body, media_type = _body(error, status, scope)
    return Response(
        content=body,
        media_type=media_type,
        status_code=status,
        headers={**_headers(error, status), **_trace_headers(scope), **(headers or {})},
    )


def request_log_fields(scope: Scope) -> dict[str, str]:
    """Return the `extra` of what is logged of a request: who asked, and the id that its client may quote.

    Args:
        scope: The request's.
    """
    principal = principal_of(ASGIConnection(scope))
    known = log_fields(principal=principal, span=server_span(scope).get_span_context())
    return {"trace_id": trace_id(scope), **known}


def _log(error: EdgeError, status: int, scope: Scope) -> None:
    """Log a refusal, so that a client who quotes its id is found."""
    request = cast(HTTPScope, scope)  # the edge has no other routes
    place = request.get("path_template") or request.get("path", "")[:LOGGED_PATH_CHARS]
    _log_line(f"{method_of(request)} {place}", error, status, request_log_fields(scope))


def _log_line(request: str, error: EdgeError, status: int, fields: Mapping[str, str]) -> None:
    """Log a refusal. Its message is left out: it may quote what the client has sent."""
    level = logging.INFO if _logged.take() else logging.DEBUG
    reason = error.details.get("reason", error.code)
    # The id stands in the text too: lines for people show no fields.
    text = "%s refused: %d %s (trace %s)"
    logger.log(level, text, request, status, reason, fields["trace_id"], extra=fields)


def _trace_headers(scope: Scope) -> dict[str, str]:
    parent = traceparent(scope)
    return {"traceparent": parent} if parent else {}


def _phrase(status: int) -> str:
    return "Client Closed Request" if status == _CLIENT_CLOSED_REQUEST else http.HTTPStatus(status).phrase


def _body(error: EdgeError, status: int, scope: Scope) -> tuple[bytes, str]:
    """Return a refusal's body and media type, in the form that the route's clients know."""
    handler = cast(Mapping[str, Any], scope).get("route_handler")  # none where no route was found
    form: RefusalForm | None = handler.opt.get(REFUSAL_FORM) if handler is not None else None
    if form is not None:
        return form(error)
    return _encode(error, status, trace_id(scope)), MEDIA_TYPE


def _encode(error: EdgeError, status: int, trace: str = "") -> bytes:
    return msgspec.json.encode(
        Problem(
            type=f"urn:tokenwire:error:{error.code}",
            title=_phrase(status),
            status=status,
            detail=error.message,
            code=error.code,
            retryable=error.retryable,
            details=error.details,
            trace_id=trace,
        )
    )


def _headers(error: EdgeError, status: int) -> dict[str, str]:
    retry_after_s = error.retry_after_s
    if retry_after_s is None and status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = 1
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if status == http.HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = getattr(error, "challenge", "Bearer")
    if retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(retry_after_s))
    return headers


def _edge_error(request: Request[Any, Any, Any], error: EdgeError) -> Response[bytes]:
    return _problem(error, request.scope)


def _validation_error(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """Return a problem that names the field."""
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    message = str(extra.get("message", error.detail))
    field = str(extra.get("key", ""))
    if named := _FIELD.search(message):
        # The body's own words are more exact: the key only says that it is the body.
        field = named[1] or named[2]
        message = message[: named.start()].rstrip(" -") if named[2] else message
    field = "body" if field == "data" else field  # what Litestar calls a handler's body
    if extra.get("source") == "query":
        field = _in_url(field)
    details = {"field": field} if field else {}
    detail = f"{field}: {message}" if field else message
    return _problem(EdgeError("INVALID_ARGUMENT", detail, details=details), request.scope)


def _in_url(parameter: str) -> str:
    """Return what a query parameter is called in the URL: Litestar tells what the handler calls it."""
    first, *rest = parameter.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected(request, error)
    code = _CODE_OF_STATUS.get(status, "INVALID_ARGUMENT")
    # They say what would be served: `Allow` with a 405, `Accept-Post` with a 415.
    return _problem(
        EdgeError(code, error.detail, retryable=False), request.scope, status=status, headers=error.headers
    )


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return a problem that says nothing of what went wrong inside: that goes to the log."""
    fields = request_log_fields(request.scope)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=fields)
    return _problem(EdgeError("INTERNAL"), request.scope)


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    EdgeError: _edge_error,
    ValidationException: _validation_error,
    HTTPException: _http_exception,
    Exception: _unexpected,
}
