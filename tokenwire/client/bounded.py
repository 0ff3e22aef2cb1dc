"""How much of an answer the client keeps: a broken or hostile server must not fill its memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The longest message of a stream. An event has at most 1 MiB, which JSON's escapes can make six."""

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""The longest other answer: a page of a transcript has at most 3 MiB of text, or one turn, before escapes."""

ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})
"""Others expand a few bytes to any number before they can be counted; these, a read of 64 KiB to 64 MiB."""

_BLANK_LINES: Final = (b"\n\n", b"\n\r", b"\r\r")
"""How messages end. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream"""


class TooLongError(Exception):
    """An answer, or a message of a stream, exceeds what an edge sends. The text says which limit."""


async def read_whole(response: httpx.Response) -> bytes:
    """Return the body of an answer that is no stream.

    Args:
        response: Not read yet.

    Raises:
        TooLongError: It exceeds `MAX_ANSWER_BYTES`.
        httpx.DecodingError: It is encoded in a way that the client did not ask for.
        httpx.TransportError: The connection broke.
    """
    encodings = response.headers.get("content-encoding", "").lower().split(",")
    if not {each.strip() for each in encodings} <= ENCODINGS or len(encodings) > 1:
        raise httpx.DecodingError(f"content-encoding {encodings}", request=response.request)
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise TooLongError(f"an answer of more than {MAX_ANSWER_BYTES // 1024**2} MiB")
    return bytes(body)


class BoundedMessages(httpx.AsyncByteStream):
    """The bytes of a stream of messages, none longer than `MAX_MESSAGE_BYTES`.

    Args:
        stream: The bytes as they come; not compressed.

    Raises:
        TooLongError: While it is read: a message has no end.
    """

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        size, last = 0, b""
        async for chunk in self._stream:
            seen = last + chunk
            end = max(map(seen.rfind, _BLANK_LINES))
            size = size + len(chunk) if end < 0 else len(seen) - end
            if size > MAX_MESSAGE_BYTES:
                raise TooLongError(f"a message of more than {MAX_MESSAGE_BYTES // 1024**2} MiB")
            last = chunk[-1:]
            yield chunk

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
