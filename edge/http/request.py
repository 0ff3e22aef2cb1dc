"""The request: its body is decoded without a way to fail inside."""

from __future__ import annotations

from typing import Any

from litestar import Request

from edge.errors import RequestError


class EdgeRequest(Request[Any, Any, Any]):
    """A request whose body may be anything."""

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
