"""Clients that speak another version of HTTP, or would like to: HTTP/1.0, and the upgrade to HTTP/2."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from edge.http.connection_limits import RefusedError


def check_version(version: str) -> None:
    """Let a request of HTTP/1.1 or 1.0 pass. The parser also takes request lines of HTTP/2.0 and HTTP/0.9.

    Args:
        version: As the parser tells it.

    Raises:
        RefusedError: 400, it is of another one.
    """
    if version not in {"1.0", "1.1"}:
        raise RefusedError(400, f"This server speaks HTTP/1.1, not HTTP/{version}.")


def head_without_upgrade(
    parser: httptools.HttpRequestParser, url: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return a request's head as if it had not asked for another protocol, which a server may ignore.

    Java's HttpClient and `curl --http2` ask for `h2c` even with a POST, whose body must be read as well.

    Args:
        parser: The one that has parsed it.
        url: What it asks for, as it stands in the request line.
        headers: As the parser gave them, names in lower case.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    """
    head = b"%b %b HTTP/%b\r\n" % (parser.get_method(), url, parser.get_http_version().encode())
    return head + b"".join(b"%b: %b\r\n" % line for line in headers if line[0] != b"upgrade") + b"\r\n"


def answer_without_chunks(cycle: RequestResponseCycle) -> None:
    """Have the response end with the connection: HTTP/1.0 knows no chunks, but uvicorn sends them."""
    send = cycle.send

    def unchunked(message: Any) -> Awaitable[None]:
        cycle.chunked_encoding = False
        cycle.expected_content_length = len(message.get("body", b""))
        return send(message)

    cycle.send = unchunked  # type: ignore[method-assign, assignment]
