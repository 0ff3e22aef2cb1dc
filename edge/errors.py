"""What can go wrong at the edge: one exception tree, one table of codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HTTP_STATUS: Final[Mapping[str, int]] = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 410,
}
"""HTTP status of each canonical gRPC code. As google.rpc.Code maps them, but for DATA_LOSS: here it
means that a run's log went with its core, which is 410 Gone.

Source: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

RETRYABLE: Final = frozenset({"ABORTED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Codes of failures that may pass by themselves."""

CORE_AWAY: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Codes with which a call fails whose core can't be reached, or hangs."""

USER_MESSAGE: Final[Mapping[str, str]] = {
    "UNAVAILABLE": "The agent service can't be reached at the moment.",
    "DEADLINE_EXCEEDED": "The agent service did not answer in time.",
    "UNIMPLEMENTED": "The agent service does not offer this.",
    "RESOURCE_EXHAUSTED": "The agent service is overloaded. Try again in a moment.",
    "DATA_LOSS": "The run's events were lost.",
}
"""What a user is told of a failure that carries no words meant for users."""

FALLBACK_MESSAGE: Final = "Internal error."


class EdgeError(Exception):
    """A failure that a client is told of. Its message is fit for a user.

    Args:
        code: A canonical gRPC code's name.
        message: What went wrong, fit for a user; None for the code's usual words.
        retryable: True when the same request may succeed later; None: as the code says.
        details: Further facts for programs.
        retry_after_s: How long to wait before trying again, when that is known.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retryable: bool | None = None,
        details: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.code = code if code in HTTP_STATUS else "UNKNOWN"
        self.message = message or USER_MESSAGE.get(self.code, FALLBACK_MESSAGE)
        self.retryable = self.code in RETRYABLE if retryable is None else retryable
        self.details: dict[str, str] = dict(details or {})
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.code}: {self.message}")

    @property
    def http_status(self) -> int:
        """The HTTP status that tells of this failure."""
        return HTTP_STATUS[self.code]


class RequestError(EdgeError):
    """The client's request can't be served as it is."""


class UnauthenticatedError(RequestError):
    """The request does not prove who asks.

    Args:
        message: What is wrong, fit for a user.
        reason: The same in a word for programs.
        presented: Whether the request held credentials: then they are what is wrong.
    """

    def __init__(self, message: str, reason: str, *, presented: bool) -> None:
        super().__init__("UNAUTHENTICATED", message, details={"reason": reason})
        self.challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
        """The header WWW-Authenticate. Source: https://www.rfc-editor.org/rfc/rfc6750#section-3"""


class UpstreamError(EdgeError):
    """A core refused a call, or could not be reached."""


class StreamBrokenError(EdgeError):
    """A stream ended, or skipped an event, before its terminal event."""
