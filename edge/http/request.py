"""The request: its body is read and decoded without a way to fail inside."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from edge.errors import RequestError


class EdgeRequest(Request[Any, Any, Any]):
    """A request whose body may be anything, and may be cut off."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body's pieces.

        Raises:
            RequestError: CANCELLED, the client left before its body was whole. (The base class takes that
                for a failure of the server.)
        """
        try:
            async with aclosing(super().stream()) as pieces:
                async for piece in pieces:
                    yield piece
        except InternalServerException as error:
            message = "The client disconnected before the request was complete."
            raise RequestError("CANCELLED", message) from error

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            RequestError: INVALID_ARGUMENT, it is no UTF-8 or nested too deeply. (What is no JSON is told by
                the base class; these two it lets pass as they are.)
        """
        details = {"field": "body"}
        try:
            return await super().json()
        except UnicodeDecodeError as error:
            raise RequestError("INVALID_ARGUMENT", "The body is not UTF-8.", details=details) from error
        except RecursionError as error:
            message = "The body is nested too deeply."
            raise RequestError("INVALID_ARGUMENT", message, details=details) from error
