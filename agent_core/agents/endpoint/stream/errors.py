"""Errors that endpoints tell inside a 200, made into what they are with their HTTP status. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2
from openai import APIError, APIStatusError

from agent_core.agents.model_failures import FILTERED, ModelCallError

_REQUEST: Final = httpx2.Request("POST", "http://endpoint.invalid/chat/completions")
"""What the OpenAI library's errors want to have. Nothing reads it."""

_STATUSES: Final = {
    400: ("invalid_request_error", "invalid_request", "invalid_argument", "bad_request", "badrequesterror"),
    401: (
        *("invalid_api_key", "incorrect_api_key", "authentication_error", "invalid_authentication_error"),
        *("unauthenticated", "unauthorized", "authenticationerror"),
    ),
    402: ("billing_error", "insufficient_balance", "insufficient_credits", "payment_required"),
    403: ("permission_error", "permission_denied", "forbidden", "access_denied", "permissiondeniederror"),
    404: ("model_not_found", "not_found_error", "not_found", "notfounderror"),
    408: ("request_timeout", "deadline_exceeded", "timeout", "timeout_error", "timeouterror"),
    429: (
        *("rate_limit_exceeded", "rate_limit_error", "ratelimiterror", "too_many_requests"),
        *("resource_exhausted", "insufficient_quota"),
    ),
    500: ("api_error", "server_error", "internal_error", "internal_server_error", "internal"),
    503: ("overloaded_error", "overloaded", "service_unavailable", "unavailable", "server_is_overloaded"),
}
"""The words of providers for the HTTP status that the same error has before a stream.

Sources: https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors,
https://cloud.google.com/apis/design/errors#handling_errors
"""
_STATUS_OF: Final = {word: status for status, words in _STATUSES.items() for word in words}

_FILTERS: Final = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation"})

_WORDS: Final = ("message", "msg", "detail", "error_msg", "status_msg", "error_message")
"""Where an error says in words what it is."""

_CODES: Final = ("status_code", "http_status", "statuscode", "status", "code", "error_code", "type")
"""Where an error says to programs what it is."""


def find_error(value: Mapping[str, Any]) -> object:
    """Return the error that a JSON object of an endpoint tells; None when it tells none."""
    if error := value.get("error"):
        beside = {key: value[key] for key in ("code", "type", "status") if key in value}
        return {**beside, **error} if isinstance(error, Mapping) else {**beside, "message": error}
    if value.get("choices"):
        return None
    if value.get("object") == "error" or value.get("type") == "error":
        return value
    base = value.get("base_resp")  # MiniMax
    if isinstance(base, Mapping) and base.get("status_code"):
        return base
    is_chunk = "choices" in value or "object" in value
    return value if not is_chunk and any(isinstance(value.get(name), str) for name in _WORDS) else None


def error_of(error: object) -> Exception:
    """Return the exception that the OpenAI library raises for an error with its HTTP status.

    Args:
        error: What the endpoint says: mostly an object with `message`, `type` and `code`.
    """
    if not isinstance(error, Mapping):
        return APIError(_said(error), _REQUEST, body={"message": _said(error)})
    said = next((_said(error[name]) for name in _WORDS if error.get(name)), _said(error))
    codes = [_said(error[name]).lower() for name in _CODES if error.get(name) is not None]
    if not _FILTERS.isdisjoint(codes):
        return ModelCallError(FILTERED, said)
    status = next(filter(None, map(_status, codes)), None)
    body = {**error, "message": said}
    if status is None:
        return APIError(said, _REQUEST, body=body)
    return APIStatusError(said, response=httpx2.Response(status, request=_REQUEST), body=body)


def _status(code: str) -> int | None:
    """Return the HTTP status that a code is, or stands for."""
    client_error, statuses = 400, 600
    if code.isdecimal():
        number = int(code)
        return number if client_error <= number < statuses else None
    return _STATUS_OF.get(code)


def _said(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode()
