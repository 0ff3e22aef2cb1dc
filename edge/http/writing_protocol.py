"""uvicorn's HTTP/1.1 protocol, whose responses may be written past `send`; leaner where streams are open."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from edge.http.direct_writer import DirectWriter, LostWriter
from edge.http.extensions import Writer, WriterClient
from edge.http.lean_connection import UNREAD, LeanFlowControl, Pipeline

WRITE_BUFFER_BYTES: Final = 16 * 1024
"""How much the transport takes before `send` waits; 64 KiB by default."""


class WritingProtocol(HttpToolsProtocol):
    """HTTP/1.1 that gives the response that runs a writer, and tells that one's client what becomes of it.

    Args:
        arguments: uvicorn's.
    """

    __slots__ = ("_is_unbuffered", "_running", "_writer")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pipeline = Pipeline()  # type: ignore[assignment]
        # The request that is being served. uvicorn's `cycle` is the newest one, which may have to wait.
        self._running: RequestResponseCycle | None = None
        self._writer: DirectWriter | None = None  # of the response that runs
        self._is_unbuffered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Lower the mark at which `send` begins to wait."""
        super().connection_made(transport)
        self.flow = LeanFlowControl(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being served: uvicorn tells only the newest one. Then let go of all."""
        self._disconnect_running()
        super().connection_lost(exc)
        # The scope's extensions know this connection: a circle otherwise, which only the collector finds.
        self._running = None
        self.cycle = self.scope = None  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Give a piece of the body to the application; none to a response that is written already."""
        if self._writer is None:
            super().on_body(body)

    def open_writer(self, client: WriterClient) -> Writer:
        """Return what writes the body of the response that runs. Nobody receives from then on.

        Args:
            client: Told when the kernel has taken what was written, and when the client has gone.
        """
        cycle = self._running
        if cycle is None:
            self.loop.call_soon(client.gone)
            return LostWriter()
        writer = self._writer = DirectWriter(cycle, self.transport, self.flow, self._unbuffer, client)
        cycle.body.clear()
        if cycle.disconnected:  # but not lost: the connection is about to be closed
            self.loop.call_soon(self._tell_gone)
        else:
            self.flow.resume_reading()
        cycle.message_event = UNREAD  # type: ignore[assignment]
        return writer

    def _unbuffer(self) -> None:
        """Have the transport write at once, and tell when the kernel has taken all."""
        self._is_unbuffered = True
        self.transport.set_write_buffer_limits(high=0)

    def resume_writing(self) -> None:
        """Tell whoever writes that the kernel has taken all."""
        super().resume_writing()
        if self._writer is not None and self._writer.client is not None:
            self._writer.client.drained()

    def _tell_gone(self) -> None:
        """Tell whoever writes that there is no client any more."""
        writer, self._writer = self._writer, None
        if writer is not None and writer.client is not None:
            writer.client.gone()

    def on_response_complete(self) -> None:
        """Forget the writer of the response that has ended."""
        super().on_response_complete()
        self._writer = None
        if self._is_unbuffered and not self.transport.is_closing():
            self._is_unbuffered = False
            self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def _disconnect_running(self) -> None:
        """Tell the request that is being served that its client is gone."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
            self._tell_gone()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)
