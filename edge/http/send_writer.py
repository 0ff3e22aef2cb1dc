"""The writer of a response at any ASGI server: by `send`, in a task of its own, since `send` may wait."""

from __future__ import annotations

import asyncio
import logging

from litestar.types import Receive, Send

from edge.http.extensions import WriterClient

logger = logging.getLogger(__name__)


class SendWriter:
    """Writes a body by `send`, and looks by `receive` whether the client has gone: `send` does not say so.

    Args:
        receive: The response's.
        send: The response's.
        client: Is told of both.
    """

    def __init__(self, receive: Receive, send: Send, client: WriterClient) -> None:
        self._receive = receive
        self._send = send
        self._client = client
        self._body = b""
        self._woken = asyncio.Event()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._write())]

    def write(self, body: bytes) -> bool:
        """Have a piece sent; whether it was taken is told later."""
        self._body = body
        self._woken.set()
        return False

    async def aclose(self) -> None:
        """End both tasks, also one whose `send` is stuck."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _watch(self) -> None:
        """Tell when the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass  # what is left of the request's body
        self._client.gone()

    async def _write(self) -> None:
        """Send what is to be written, piece by piece."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._send({"type": "http.response.body", "body": self._body, "more_body": True})
            except Exception:  # servers raise what they like once a client has gone
                logger.debug("a server could not send", exc_info=True)
                self._client.gone()
                return
            self._client.drained()
