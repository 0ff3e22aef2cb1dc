"""HTTP written by hand, for what no client would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

HEALTH = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(path: str, body: bytes = b"", *lines: str, host: str = "localhost") -> bytes:
    """Return a POST with these header lines and no others but Host and Content-Length."""
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *lines]
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, str]:
        """Its problem document."""
        assert self.headers["content-type"] == "application/problem+json", self
        document: dict[str, str] = msgspec.json.decode(self.body)
        assert document["status"] == self.status
        return document


class RawConnection:
    """A connection that says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send; whether the server still reads is no matter."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self, within_s: float = 20) -> Answer:
        """Return the next response, of which the length is known or which ends with the connection."""
        async with asyncio.timeout(within_s):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            length = headers.get("content-length")
            body = await (self.reader.read() if length is None else self.reader.readexactly(int(length)))
            return Answer(int(head[0].split()[1]), headers, body)

    async def until(self, marker: bytes, within_s: float = 20) -> bytes:
        """Return what comes up to some bytes."""
        async with asyncio.timeout(within_s):
            return await self.reader.readuntil(marker)

    async def closed(self, within_s: float = 20) -> bytes:
        """Return what still comes until the server closes."""
        async with asyncio.timeout(within_s):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def reset(self) -> None:
        """Leave without a word, at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def raw_connection(url: str) -> AsyncIterator[RawConnection]:
    """Connect to a server."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=2**20)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


async def ask(url: str, data: bytes) -> Answer:
    """Return the first answer to some bytes, on a connection of its own."""
    async with raw_connection(url) as connection:
        await connection.send(data)
        return await connection.answer()
