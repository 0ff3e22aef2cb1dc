"""What writes to the transport, at the event loop that the edge runs on."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from edge.http.connection import StreamProtocol
from edge.http.connection_limits import ConnectionLimits
from edge.http.extensions import WRITER_EXTENSION, Writer
from edge.http.idle import IdleConnections

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
START: Any = {"type": "http.response.start", "status": 200, "headers": []}
END: Any = {"type": "http.response.body", "body": b"", "more_body": False}

App = Callable[[Writer, Callable[[Any], Awaitable[None]], "Client"], Awaitable[None]]


class Client:
    """Who is told by the connection."""

    def __init__(self) -> None:
        self.is_drained = asyncio.Event()
        self.is_gone = asyncio.Event()

    def drained(self) -> None:
        self.is_drained.set()

    def gone(self) -> None:
        self.is_gone.set()


async def served(app: App, use: Callable[[socket.socket], Awaitable[None]]) -> None:
    """Serve one request by an app that writes, to a client that does what the test says."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def asgi(scope: Any, receive: object, send: Any) -> None:
        del receive
        told = Client()
        writer = scope["extensions"][WRITER_EXTENSION](told)
        try:
            await app(writer, send, told)
        except Exception as error:  # noqa: BLE001 # the test shows it
            ended.set_exception(error)
        else:
            ended.set_result(None)
        finally:
            await writer.aclose()

    limits = ConnectionLimits(65_536, 65_536, 15, 75, IdleConnections(10))
    config = uvicorn.Config(asgi, lifespan="off", log_config=None)
    config.load()
    make = partial(StreamProtocol, limits=limits, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(
                client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            await use(client)
        await ended


async def read_to(client: socket.socket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        piece = await asyncio.get_running_loop().sock_recv(client, 1 << 20)
        assert piece, seen
        seen += piece
    return seen


def test_pieces_are_chunks_and_leave_at_once() -> None:
    """None waits for the end of the loop's turn."""

    async def app(writer: Writer, send: Any, told: Client) -> None:
        del told
        await send(START)
        assert writer.write(b"a" * 10)
        assert writer.write(b"b" * 20)
        await send(END)

    async def use(client: socket.socket) -> None:
        seen = await read_to(client, b"0\r\n\r\n")
        assert seen.endswith(b"\r\n\r\na\r\naaaaaaaaaa\r\n14\r\n" + b"b" * 20 + b"\r\n0\r\n\r\n")

    uvloop.run(served(app, use))


def test_what_the_kernel_has_not_taken_is_told_when_it_has() -> None:
    """Not before: the time of a write is that of its last byte."""

    async def app(writer: Writer, send: Any, told: Client) -> None:
        await send(START)
        while writer.write(b"x" * 100_000):
            pass
        await asyncio.sleep(0.05)
        assert not told.is_drained.is_set()
        may_read.set()
        await told.is_drained.wait()
        assert writer.write(b"y")
        await send(END)

    async def use(client: socket.socket) -> None:
        await may_read.wait()
        await read_to(client, b"1\r\ny\r\n0\r\n\r\n")

    may_read = asyncio.Event()
    uvloop.run(served(app, use))


def test_a_writer_whose_client_has_gone_takes_nothing_and_says_so() -> None:
    """At uvloop, whose closed transports raise: other streams are written in the same turn."""

    async def app(writer: Writer, send: Any, told: Client) -> None:
        await send(START)
        writer.write(b"a")
        await told.is_gone.wait()
        assert not writer.write(b"b")
        await send(END)

    async def use(client: socket.socket) -> None:
        await read_to(client, b"1\r\na\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    uvloop.run(served(app, use))


def test_a_writer_that_is_opened_when_its_client_has_gone_is_told() -> None:
    """A follow that has waited for its turn may come too late."""

    async def use(client: socket.socket) -> None:
        await asked.wait()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def run() -> None:
        told, ended = Client(), asyncio.Event()

        async def asgi(scope: Any, receive: Any, send: object) -> None:
            del send
            asked.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            scope["extensions"][WRITER_EXTENSION](told)
            ended.set()

        limits = ConnectionLimits(65_536, 65_536, 15, 75, IdleConnections(10))
        config = uvicorn.Config(asgi, lifespan="off", log_config=None)
        config.load()
        make = partial(StreamProtocol, limits=limits, config=config, server_state=ServerState(), app_state={})
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        async with server, asyncio.timeout(10):
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await use(client)
            await ended.wait()
            await told.is_gone.wait()

    asked = asyncio.Event()
    uvloop.run(run())
