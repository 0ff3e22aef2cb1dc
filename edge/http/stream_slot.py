"""A stream's slot within the limits, and how one that gets none is answered."""

from __future__ import annotations

from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse
from litestar.types import Scope, Send

from edge.http.authentication import came_by_ticket, principal_of
from edge.http.head import is_head
from edge.http.limits import RETRY_STREAM_S, LimitError, Limits
from edge.http.problem import problem
from edge.http.stream_policy import STREAM_HEADERS, come_back_later, jittered_ms


class StreamSlot:
    """The slot of one stream: taken when its response begins, and given back once.

    Args:
        limits: The limits.
        starts: Whether the stream starts a run.
        for_event_source: Whether the client may be an `EventSource`.
    """

    __slots__ = ("_for_event_source", "_limits", "_principal", "_starts")

    def __init__(self, limits: Limits, *, starts: bool, for_event_source: bool = True) -> None:
        self._limits = limits
        self._starts = starts
        self._for_event_source = for_event_source
        self._principal: str | None = None

    def take(self, scope: Scope) -> ASGIResponse | None:
        """Take the slot. Return how to answer where there is none.

        Args:
            scope: The request's.
        """
        principal = principal_of(ASGIConnection(scope))
        try:
            self._limits.take_stream(principal, starts=self._starts)
        except LimitError as error:
            if self._for_event_source and _may_be_event_source(scope):
                return come_back_later(jittered_ms(1000 * RETRY_STREAM_S))
            return problem(error, scope)
        self._principal = principal
        return None

    def release(self) -> None:
        """Give the slot back, if it is held."""
        principal, self._principal = self._principal, None
        if principal is not None:
            self._limits.release_stream(principal)


async def head_alone(scope: Scope, send: Send) -> bool:
    """Answer HEAD with the headers that every stream has, and return whether that was asked: it opens none.

    Args:
        scope: The request's.
        send: The response's.
    """
    if not is_head(scope):
        return False
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


def _may_be_event_source(scope: Scope) -> bool:
    """Return whether the client may be an `EventSource`, which stops for good on any status but 200.

    It can send neither a POST nor an Authorization header; who can send one can read a status, too. Beside a
    ticket the header is a proxy's.
    """
    by_header = any(name == b"authorization" for name, _ in scope["headers"])
    return scope.get("method") == "GET" and (came_by_ticket(ASGIConnection(scope)) or not by_header)
