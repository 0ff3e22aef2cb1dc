"""What a failed model call is, to a user: one table from Pydantic AI's exceptions to codes.

A provider's own words never reach a user: they may quote the request, name accounts, or hold a key.
They travel beside the message, in `ModelCallError.provider_said`, to the log.

A provider that refuses our key or our account is told to users as just that. `UNAUTHENTICATED` and
`PERMISSION_DENIED` in an `Error` event are never about the user: their own credentials are
judged before a run has any event.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlsplit

from pydantic_ai import exceptions as ai

from agent_core.agents.model_failures import (
    AWAY,
    BROKEN,
    BUSY,
    CUT_OFF,
    FILTERED,
    KEY_REFUSED,
    MALFORMED,
    MISBEHAVED,
    NOT_ALLOWED,
    REJECTED,
    SPENT,
    TIMED_OUT,
    TOO_LONG,
    UNKNOWN_MODEL,
    WRONG_URL,
    Kind,
    ModelCallError,
)

_OVERFLOW_TYPES: Final = frozenset({"exceed_context_size_error"})
"""How servers that Pydantic AI does not know call it: llama.cpp.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

_STATUSES: Final = {403: NOT_ALLOWED, 408: TIMED_OUT}
"""HTTP statuses that Pydantic AI puts together with others."""

_REDIRECTION: Final = 300
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500


_KINDS: Final[tuple[tuple[type[Exception], Kind], ...]] = (
    (ai.ModelRequestTimeout, TIMED_OUT),
    (ai.ModelTimeoutError, TIMED_OUT),
    (ai.RunTimedOut, TIMED_OUT),
    (ai.ModelAuthenticationError, KEY_REFUSED),
    (ai.ModelNotFoundError, UNKNOWN_MODEL),
    (ai.ModelContextWindowExceededError, TOO_LONG),
    (ai.ModelRequestRejectedError, REJECTED),
    (ai.ModelQuotaExceededError, SPENT),
    (ai.ModelRateLimitError, BUSY),
    (ai.ModelUnavailableError, BROKEN),
    (ai.ModelServerError, BROKEN),
    (ai.ContentFilterError, FILTERED),
    (ai.UnexpectedModelBehavior, MISBEHAVED),
)
"""The first that fits counts: subclasses stand before their bases."""


def model_call_error(error: Exception) -> ModelCallError | None:
    """Return what an exception of a model call means to a user; None when it is none of a model call."""
    if isinstance(error, ModelCallError):
        return error
    retry_after_s = error.retry_after if isinstance(error, ai.ModelAPIError) else None
    kind = _kind_of(error)
    return None if kind is None else ModelCallError(kind, _said(error), retry_after_s=retry_after_s)


def _kind_of(error: Exception) -> Kind | None:
    """Return the way in which a model call failed."""
    if not isinstance(error, ai.ModelAPIError):
        return _labelled(error) or _transport(error)
    if error.provider_error_type in _OVERFLOW_TYPES:
        return TOO_LONG
    status = error.status_code if isinstance(error, ai.ModelHTTPError) else 0
    return _STATUSES.get(status) or _labelled(error) or _unlabelled(error, status)


def _labelled(error: Exception) -> Kind | None:
    """Return what Pydantic AI says it is, if it says."""
    return next((kind for kind_of, kind in _KINDS if isinstance(error, kind_of)), None)


def _unlabelled(error: ai.ModelAPIError, status: int) -> Kind:
    """Return what an API error is that belongs to none of Pydantic AI's categories."""
    if isinstance(error, ai.ModelConnectionError):
        return CUT_OFF if error.phase == "read" else AWAY
    if status:
        return REJECTED if status < _SERVER_ERROR else BROKEN
    if error.__cause__ is not None and redirection(error.__cause__):
        return WRONG_URL
    if isinstance(error.__cause__, (json.JSONDecodeError, UnicodeDecodeError)):
        return MALFORMED
    # Either an error object inside the stream, or a stream that ended without a finish reason.
    return BROKEN if error.body is not None else CUT_OFF


def _transport(error: Exception) -> Kind | None:
    """Return what an HTTP library's own exception is: providers' libraries let some of them through."""
    names = {
        cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in {"httpx", "httpx2"}
    }
    if "TimeoutException" in names:
        return TIMED_OUT
    if "ConnectError" in names:
        return AWAY
    return CUT_OFF if "TransportError" in names else None


def redirection(error: BaseException) -> str:
    """Return where an HTTP response redirects to, in words; empty for what is no redirection.

    Model calls are not sent elsewhere: whoever answers there would get the key and what users say.

    Args:
        error: An HTTP status error of a provider's library.
    """
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if not _REDIRECTION <= status < _CLIENT_ERROR:
        return ""
    target = str(getattr(response, "headers", {}).get("location", ""))
    try:
        parts = urlsplit(target)
        where = f"{parts.scheme or 'the same scheme'}://{parts.hostname or 'the same host'}{parts.path}"
    except ValueError:
        where = "nowhere that can be read"
    return f"HTTP {status}, a redirection to {where}: is the base URL wrong?"


def _said(error: Exception) -> str:
    """Return the provider's own words, on one line."""
    redirected = redirection(error.__cause__) if error.__cause__ is not None else ""
    return redirected or " ".join(str(error).split()) or type(error).__name__
