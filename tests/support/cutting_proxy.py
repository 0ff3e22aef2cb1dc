"""A TCP proxy that passes so many bytes of a response, then resets the connection."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CUT = re.compile(rb"\r\nx-cut: (\d+)", re.IGNORECASE)
"""The request's header that says after how many bytes of its response, head and framing included."""

HOLD_S = 0.02
"""So long it holds the connection before the reset, so that most clients have read what was passed. A
client that has not has lost more than the cut took: what it then resumes must be whole all the same."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class CuttingProxy:
    """Passes requests to one server, one a connection.

    Args:
        port: The server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.cuts = 0
        """How many responses were cut."""
        self.passed: list[int] = []
        """The sizes of those that were not."""
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def end(self) -> None:
        """Return when no connection is served any more."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):  # clients come and go as they like
                head = await reader.readuntil(b"\r\n\r\n")
                cut = CUT.search(head)
                await self._pass(head, reader, writer, int(cut[1]) if cut else None)
        finally:
            writer.close()

    async def _pass(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        """Pass a request on, and so much of its response."""
        upstream, request = await asyncio.open_connection("127.0.0.1", self._port)
        # Of several requests on one connection, only the first one's header would be seen.
        lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
        request.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        body = asyncio.create_task(_pump(reader, request))
        size = 0
        try:
            while left is None or size < left:
                piece = await upstream.read(65_536 if left is None else left - size)
                if not piece:
                    self.passed.append(size)
                    return
                size += len(piece)
                writer.write(piece)
                await writer.drain()
            self.cuts += 1
            await asyncio.sleep(HOLD_S)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)
            request.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on the rest of the request."""
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """Run one in front of a server; return it and its URL."""
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    try:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()
