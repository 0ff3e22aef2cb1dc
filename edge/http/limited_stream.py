"""A stream within the limits: it holds a slot for as long as it is served."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import ExitStack

from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse
from litestar.types import Message, Receive, Scope, Send

from edge.http.authentication import came_by_ticket, principal_of
from edge.http.head import is_head
from edge.http.limits import RETRY_STREAM_S, LimitError, Limits
from edge.http.problem import problem
from edge.http.stream_policy import CONTENT_TYPE, STREAM_HEADERS, come_back_later, jittered_ms


class LimitedStream(ASGIResponse):
    """A response that serves a stream if there is room for it, and says so if not.

    The slot is taken when the response begins and given back when it ends, in this one place: however it
    ends, and whether or not its client was still there at all, no slot is lost. It is back before the
    client can see the end, so that a client that asks again at once finds it.

    Args:
        stream: The stream; it has opened nothing yet.
        limits: The limits.
        starts: Whether the stream starts a run.
    """

    def __init__(self, stream: ASGIResponse, limits: Limits, *, starts: bool) -> None:
        super().__init__(media_type=CONTENT_TYPE)
        self._stream = stream
        self._limits = limits
        self._starts = starts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream, or refuse it. HEAD opens none: it gets the headers that every stream has."""
        if is_head(scope):
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        principal = principal_of(ASGIConnection(scope))
        answer = self._stream
        with ExitStack() as held:
            try:
                held.enter_context(self._limits.stream(principal, starts=self._starts))
            except LimitError as error:
                later = come_back_later(jittered_ms(1000 * RETRY_STREAM_S))
                answer = later if _may_be_event_source(scope) else problem(error, scope)

            def release_and_send(message: Message) -> Awaitable[None]:
                if message["type"] == "http.response.body" and not message["more_body"]:
                    held.close()
                return send(message)  # not awaited here: a stream sends for every token

            await answer(scope, receive, release_and_send)


def _may_be_event_source(scope: Scope) -> bool:
    """Return whether the client may be an `EventSource`, which stops for good on any status but 200.

    It can send neither a POST nor an Authorization header; who can send one can read a status, too. Beside a
    ticket the header is a proxy's.
    """
    by_header = any(name == b"authorization" for name, _ in scope["headers"])
    return scope.get("method") == "GET" and (came_by_ticket(ASGIConnection(scope)) or not by_header)
