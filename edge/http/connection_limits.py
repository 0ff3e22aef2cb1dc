"""What one connection may do, and how it is refused what it may not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.errors import EdgeError, RequestError
from edge.http.idle import IdleConnections


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may do: one object for all connections of a process."""

    header_bytes: int
    """The largest request line and headers together, and the largest trailers, in bytes."""
    body_bytes: int
    """The largest body, in bytes. The application counts it: this is for what waits behind a request."""
    request_timeout_s: float
    """How long a client may take to begin, then for the headers, then for the body."""
    keep_alive_s: float
    """How long it may take to begin the next request."""
    idle: IdleConnections
    """The connections without a request that is being served."""


class RefusedError(Exception):
    """Why a request is refused. The parser's callbacks raise it, and so stop the parser.

    Args:
        status: The HTTP status.
        message: What is wrong, fit for a user.
    """

    CODES: Final = {400: "INVALID_ARGUMENT", 408: "DEADLINE_EXCEEDED", 501: "UNIMPLEMENTED"}

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        code = self.CODES.get(status, "RESOURCE_EXHAUSTED")
        self.error: EdgeError = RequestError(code, message, retryable=code == "DEADLINE_EXCEEDED")
