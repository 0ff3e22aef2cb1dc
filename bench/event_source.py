"""A lean reader of server-sent events over HTTP/1.1, for hundreds of streams in one event loop.

It shares no line with the product, which is what it checks. One connection for each request.

Sources: https://html.spec.whatwg.org/multipage/server-sent-events.html,
https://www.rfc-editor.org/rfc/rfc9112#section-7.1
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
"""How long a server may take to begin its answer."""

SILENCE_S: Final = 45.0
"""How long a stream may be silent: three heartbeats. Then its connection counts as dead."""


RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class BrokenOffError(Exception):
    """The connection ended before the response did."""


class Message(NamedTuple):
    """One dispatched block of a stream."""

    event: str
    """Empty for an unnamed one."""
    id: str
    """Its own id; empty when it has none."""
    data: str
    retry_ms: int | None
    """What it says of the time to wait before a reconnection."""


class Decoder:
    """Makes messages of a stream's text. Line ends are LF here: others would be an error of the server's."""

    def __init__(self) -> None:
        self._rest = b""
        self._event, self._id = "", ""
        self._retry_ms: int | None = None
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Message]:
        """Return the messages that are complete now. One that never ends is never returned."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [message for line in lines if (message := self._line(line.decode())) is not None]

    def _line(self, line: str) -> Message | None:
        """Take in a line; return the message that it ends."""
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id":
                self._id = value
            case "retry" if value.isdecimal():
                self._retry_ms = int(value)
            case _:
                pass  # a comment, or an unknown field
        return None

    def _dispatch(self) -> Message | None:
        """Return what was collected; None for nothing."""
        message = Message(self._event, self._id, "\n".join(self._data), self._retry_ms)
        self._event, self._id, self._retry_ms = "", "", None
        self._data = []
        return message if message.data or message.retry_ms is not None else None


@dataclass
class Response:
    """An answer whose body was not read yet."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    def reset(self) -> None:
        """End the connection at once, by RST."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()

    async def messages(self) -> AsyncIterator[Message]:
        """Yield the messages of a stream, until it ends in good order.

        Raises:
            BrokenOffError: It did not.
        """
        decoder = Decoder()
        async for chunk in self._chunks():
            for message in decoder.feed(chunk):
                yield message

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            BrokenOffError: It is not whole.
        """
        return b"".join([chunk async for chunk in self._chunks()])

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece."""
        try:
            if self.headers.get("transfer-encoding") != "chunked":
                yield await self._timely(int(self.headers.get("content-length", 0)))
                return
            while size := int(await self._line(), 16):
                yield await self._timely(size)
                await self._line()
        except (asyncio.IncompleteReadError, OSError, TimeoutError) as error:
            raise BrokenOffError(f"{type(error).__name__}: {error}") from error

    async def _line(self) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            return (await self._reader.readuntil(b"\r\n"))[:-2]

    async def _timely(self, size: int) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            return await self._reader.readexactly(size)


@asynccontextmanager
async def request(  # noqa: PLR0913 # what a request has
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    receive_bytes: int | None = None,
) -> AsyncIterator[Response]:
    """Ask a server on 127.0.0.1, and close the connection in the end.

    Args:
        port: Its port.
        method: GET or POST.
        path: What is asked for.
        headers: Besides those that every request has.
        body: JSON, or nothing.
        receive_bytes: How much may wait to be read here before the server feels it; None for megabytes.

    Raises:
        BrokenOffError: There was no answer, or no connection.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await _connect(port, receive_bytes)
    except (OSError, TimeoutError) as error:
        raise BrokenOffError(f"no connection: {type(error).__name__}") from error
    try:
        yield await _ask(reader, writer, _head(port, method, path, headers, body) + body)
    finally:
        writer.close()


async def _connect(port: int, receive_bytes: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if receive_bytes is None:
        return await asyncio.open_connection("127.0.0.1", port)
    connection = socket.socket()
    connection.setblocking(False)
    # Before it connects: the window that is offered then stays.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=connection, limit=receive_bytes)
    except BaseException:
        connection.close()
        raise


def _head(port: int, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}
    if body:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{told}\r\n".encode()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> Response:
    """Return a server's answer, its body unread."""
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(asked)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, OSError, TimeoutError) as error:
        raise BrokenOffError(f"no answer: {type(error).__name__}") from error
    status, *lines = head[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    named = {name.lower(): value.strip() for name, _, value in pairs}
    return Response(int(status.split(" ")[1]), named, reader, writer)
