"""What a connection does for a response, at the event loop that the edge runs on."""

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
from edge.http.extensions import FLUSH_EXTENSION
from edge.http.idle import IdleConnections

RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Receive = Callable[[], Awaitable[dict[str, Any]]]


async def flushed_after_a_reset() -> bool:
    """Return what `flush` says to a response that first calls it when its client has reset the connection."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    is_asked = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: object) -> None:
        del send
        is_asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            told.set_result(await scope["extensions"][FLUSH_EXTENSION]())
        except Exception as error:  # noqa: BLE001 # the test shows it
            told.set_exception(error)

    limits = ConnectionLimits(65_536, 65_536, 15, 75, IdleConnections(10))
    config = uvicorn.Config(app, http=partial(StreamProtocol, limits=limits), lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.load()
    make = partial(StreamProtocol, limits=limits, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await is_asked.wait()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return await told


def test_flush_says_that_the_connection_is_lost() -> None:
    """At uvloop, whose closed transports raise: the stream would end as a failure, not as a disconnect."""
    assert not uvloop.run(flushed_after_a_reset())
