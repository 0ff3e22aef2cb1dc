"""A TCP proxy that breaks connections as networks do: before a request, behind it, or without a word."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

CHUNK_BYTES = 64 * 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a socket that is closed so sends RST, and nothing that it still holds."""


class Fault(enum.Enum):
    """What becomes of a request and its connection."""

    PASS = "pass"  # noqa: S105 # no password
    LOSE_REPLY = "lose reply"
    """The server gets and executes it; its reply is dropped, and the client's connection reset."""
    LOSE_REQUEST = "lose request"
    """The server does not get it, and the client's connection is reset."""
    DELAY = "delay"
    """It waits a moment, and all behind it."""


Plan: TypeAlias = Callable[[bytes], Fault]
"""Says what becomes of a request: of what came from the client in one piece."""


@dataclass(eq=False)
class Connection:
    """One client's connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    said: bytearray = field(default_factory=bytearray)
    """What the client has sent first, up to one chunk: tells what the connection is for."""
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nothing passes any more, either way, though both ends stay open."""
    losing: bool = False

    def reset(self) -> None:
        """End it at once, for both."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class FaultProxy:
    """Stands between clients and one server, on a port of its own.

    Args:
        server_port: The server's, on loopback.
        delay_s: How long DELAY takes.
    """

    def __init__(self, server_port: int, delay_s: float = 0.3) -> None:
        self.port = 0
        self.plan: Plan = lambda _: Fault.PASS
        """What becomes of requests from now on."""
        self.connections: set[Connection] = set()
        """Those that are open."""
        self.done = dict.fromkeys(Fault, 0)
        """How often each was done."""
        self._server_port = server_port
        self._delay_s = delay_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """End all connections, and listen no longer."""
        self._listener.close()
        for connection in tuple(self.connections):
            connection.reset()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def silence(self, word: bytes) -> int:
        """Let nothing pass any more on connections that began with a word; return how many. New ones pass."""
        chosen = [connection for connection in self.connections if word in connection.said]
        for connection in chosen:
            connection.silent.set()
        return len(chosen)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, to_server)
        self.connections.add(connection)
        pumps = {
            asyncio.create_task(self._requests(connection, reader)),
            asyncio.create_task(self._replies(connection, from_server)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.reset()
            self.connections.discard(connection)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)

    async def _requests(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        """Pass on what the client says, as planned."""
        while chunk := await _read(reader):
            if connection.silent.is_set():
                continue
            connection.said += chunk[: CHUNK_BYTES - len(connection.said)]
            fault = self.plan(chunk)
            self.done[fault] += 1
            if fault is Fault.LOSE_REQUEST:
                return
            if fault is Fault.DELAY:
                await asyncio.sleep(self._delay_s)
            connection.losing |= fault is Fault.LOSE_REPLY
            connection.server.write(chunk)
        connection.said.clear()

    async def _replies(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        """Pass on what the server says, but for a reply that is to be lost."""
        while chunk := await _read(reader):
            if connection.losing:
                return
            if not connection.silent.is_set():
                connection.client.write(chunk)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return what has come; nothing when the connection is at its end."""
    try:
        return await reader.read(CHUNK_BYTES)
    except OSError:
        return b""


@asynccontextmanager
async def fault_proxy(server_port: int) -> AsyncIterator[FaultProxy]:
    """Stand before a server on loopback while the context lasts."""
    proxy = FaultProxy(server_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()
