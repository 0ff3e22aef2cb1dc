"""`GET /metrics` on a port of its own, in the event loop of the process: what a scrape needs, and no more."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from tokenwire.addresses import address_of, is_loopback
from tokenwire.telemetry.metrics.exposition import metrics_page
from tokenwire.telemetry.metrics.home import home
from tokenwire.telemetry.settings import TelemetrySettings

PATH: Final = "/metrics"

MAX_HEAD_BYTES: Final = 8 * 1024
"""How much a request may be."""

REQUEST_S: Final = 10.0
"""How long a request, and its answer, may take."""

MAX_CONNECTIONS: Final = 16
"""How many there may be at once: a few scrapers, and those who look by hand."""

logger = logging.getLogger(__name__)


def bind_metrics(settings: TelemetrySettings) -> socket.socket | None:
    """Return the listening socket; None where no port of its own is asked for.

    Args:
        settings: The process's.

    Raises:
        MetricsPortError: It can't be had.
    """
    if settings.metrics_port is None:
        return None
    host, port = settings.metrics_host, settings.metrics_port
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = infos[0]
        listener = socket.socket(family, kind, protocol)
        with ExitStack() as unused:
            unused.callback(listener.close)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            unused.pop_all()
    except OSError as error:
        raise MetricsPortError(
            f"can't serve metrics on {address_of(host, port)}: {error.strerror}"
        ) from error
    return listener


class MetricsPortError(Exception):
    """The port of TOKENWIRE_METRICS_PORT can't be had. The text says why, for an operator."""


class MetricsServer:
    """Serves the page of the process's home, until it is stopped.

    Args:
        listener: From `bind_metrics`; None to serve nothing.
    """

    def __init__(self, listener: socket.socket | None) -> None:
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._only_loopback = listener is not None and is_loopback(listener.getsockname()[0])

    async def start(self) -> None:
        """Begin to serve in the running loop."""
        if self._listener is None:
            return
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_HEAD_BYTES)
        host, port = self._listener.getsockname()[:2]
        logger.info("metrics on http://%s%s", address_of(host, port), PATH)

    async def stop(self) -> None:
        """End it, with the connections that there are."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="scrape")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(REQUEST_S):
                    writer.write(self._answer(await _read_head(reader)))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        """Return the response to a request.

        Args:
            head: All before its body; empty for one that is too long.
        """
        if not head:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request, *lines = head.decode("latin-1").split("\r\n")
        method, _, target = request.rpartition(" ")[0].partition(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        if not method or not target:
            return _response(HTTPStatus.BAD_REQUEST)
        # A page whose name is given this machine's address (DNS rebinding) asks for its own name.
        if self._only_loopback and not is_loopback(_host_of(headers.get("host", "localhost"))):
            return _response(HTTPStatus.FORBIDDEN)
        if target.partition("?")[0] != PATH:
            return _response(HTTPStatus.NOT_FOUND)
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
        page, content_type = metrics_page(home(), headers.get("accept", ""))
        return _response(HTTPStatus.OK, ("Content-Type", content_type), body=page, has_body=method == "GET")


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Return all of a request before its body; empty where it is too long.

    Raises:
        asyncio.IncompleteReadError: The client has gone.
    """
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return b""


def _response(
    status: HTTPStatus, *headers: tuple[str, str], body: bytes = b"", has_body: bool = True
) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (body if has_body else b"")


def _host_of(header: str) -> str:
    """Return the name that a header `Host` names; empty where it can't be read."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
