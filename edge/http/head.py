"""HEAD: every route that is asked by GET answers it, with the same status and headers and no body.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

_KEY: Final = "tokenwire.head"
"""In the scope's `extensions`: the client asked by HEAD."""


class HeadAsGet:
    """An ASGI application before the edge's own: has HEAD served as GET, without the body.

    Streams are told of it (`is_head`): they answer with their headers and open nothing.

    Args:
        app: The edge's application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        """What is served."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        method = scope.get("method")  # none of what is no request
        if method in {None, "GET"}:
            await self.app(scope, receive, send)
        elif method == "HEAD":
            extensions = {**(scope.get("extensions") or {}), _KEY: {}}
            as_get = cast(Scope, {**scope, "method": "GET", "extensions": extensions})
            await self.app(as_get, receive, _without_body(send))
        else:
            await self.app(scope, receive, _allowing_head(send))


def is_head(scope: Any) -> bool:
    """Return whether a request that is served as GET wants no body."""
    return _KEY in (scope.get("extensions") or {})


def method_of(scope: Any) -> str:
    """Return the method by which a client has asked."""
    return "HEAD" if is_head(scope) else str(scope["method"])


def _without_body(send: Send) -> Send:
    def headers_alone(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        return send(message)

    return headers_alone


def _allowing_head(send: Send) -> Send:
    """Have HEAD stand beside GET in `Allow`: with a 405, and in the answer to OPTIONS."""

    def with_head(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*map(_allowed, message["headers"])]}
        return send(message)  # not awaited here: a stream sends for every token

    return with_head


def _allowed(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name.lower() != b"allow":
        return header
    methods = {method.strip() for method in value.split(b",")}
    return name, b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))
