"""The writer of a response at our own server: straight to the transport, in whatever turn of the loop.

`send` passes three wrappers and two coroutines on its way to the same `transport.write`: for a token, that
costs more than all else that the edge does with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from edge.http.extensions import WriterClient

logger = logging.getLogger(__name__)


class LostWriter:
    """The writer of a response whose connection is lost."""

    __slots__ = ()

    def write(self, body: bytes) -> bool:
        """Write nothing."""
        del body
        return False

    async def aclose(self) -> None:
        """Do nothing."""


class DirectWriter:
    """Writes the body of the response that runs on a connection.

    Args:
        cycle: The request and its response: its head tells how the body is framed.
        transport: The connection's.
        flow: Says whether the transport holds back who writes.
        unbuffer: Has the transport take nothing that the kernel does not take; called once.
        client: Is told of the connection.
    """

    __slots__ = ("_cycle", "_flow", "_is_chunked", "_transport", "_unbuffer", "client")

    def __init__(
        self,
        cycle: RequestResponseCycle,
        transport: asyncio.Transport,
        flow: FlowControl,
        unbuffer: Callable[[], None],
        client: WriterClient,
    ) -> None:
        self._cycle = cycle
        self._transport = transport
        self._flow = flow
        self._unbuffer: Callable[[], None] | None = unbuffer
        self._is_chunked = True
        self.client: WriterClient | None = client
        """Who is told; None once it does not want to know any more."""

    def write(self, body: bytes) -> bool:
        """Write a piece, as a chunk where the client knows chunks; return whether the kernel has taken it."""
        if self._cycle.disconnected:
            return False
        try:
            if self._unbuffer is not None:
                self._begin(self._unbuffer)
            self._transport.write(b"%x\r\n%b\r\n" % (len(body), body) if self._is_chunked else body)
        except Exception as error:  # noqa: BLE001 # whatever it is, this client's stream alone must end of it
            logger.debug("a transport has failed: %s", error)
            self._transport.abort()  # the loop then tells that the connection is lost
            return False
        return not (self._flow.write_paused or self._transport.is_closing())

    def _begin(self, unbuffer: Callable[[], None]) -> None:
        """Make the transport and the framing ready: the head was sent."""
        self._unbuffer = None
        self._is_chunked = bool(self._cycle.chunked_encoding)  # HTTP/1.0 has none (`answer_without_chunks`)
        unbuffer()

    async def aclose(self) -> None:
        """Tell nothing more."""
        self.client = None
