"""One link, from its hello to its end: one task reads requests, one writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from agent_core.errors import LinkHelloError, LinkSilentError, RequestTimeoutError
from agent_core.rpc.calls import REQUEST_S, Call
from agent_core.rpc.link.codec import welcome
from agent_core.rpc.link.follows import LinkFollows
from agent_core.rpc.link.opening import LinkParts, Opener
from tokenwire.v1.link_pb2 import LinkRequest

HEARTBEAT_S: Final = 1.0
"""How long a link may be silent in either direction, in good order."""

SILENT_BEATS: Final = 15
"""After so many seconds without a request the edge is taken for gone, as with the keepalive of connections.
Counted in own beats: a core that stood still itself has not listened either."""

MAX_EDGE_ID: Final = 64
"""How much of an edge's id is logged."""

logger = logging.getLogger(__name__)


class LinkSession:
    """Serves one link.

    Args:
        parts: What the links of a core share.
        call: The call. Its caller was checked.
    """

    def __init__(self, parts: LinkParts, call: Call) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        opener = Opener(parts, call.context.auth_context())
        self._follows = LinkFollows(parts, opener, call.context.write)
        self._writer = self._follows.writer
        self._silent_beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._finishing = False
        self._edge = ""

    async def serve(self, requests: AsyncIterator[LinkRequest]) -> None:
        """Return when the edge has ended the link, or the core is going down.

        Raises:
            RefusalError: The edge is silent, or has sent what is no request.
        """
        await self._greet(requests)
        tasks = (
            asyncio.create_task(self._read(requests), name="read a link"),
            asyncio.create_task(self._writer.run(self._is_finished), name="write a link"),
        )
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)
        try:
            done, _ = await asyncio.wait({*tasks, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._timer.cancel()
            # Shielded: of a call that broke the requests end, and some turns later this task is cancelled.
            await asyncio.shield(self._follows.spawn_close(self._end(tasks)))

    def drain(self) -> None:
        """Tell the edge that the core goes down."""
        self._writer.drain()

    def finish(self) -> None:
        """End the link as soon as all of its follows have ended."""
        self._finishing = True
        self._writer.wake()

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Stop reading and writing, and end all follows."""
        for task in tasks:
            task.cancel()
        self._broken.cancel()
        logger.info("the link of edge %r is over; %d streams were open", self._edge, len(self._follows))
        await asyncio.gather(*tasks, self._broken, return_exceptions=True)
        await self._follows.close()

    def _is_finished(self) -> bool:
        return self._finishing and not len(self._follows)

    async def _greet(self, requests: AsyncIterator[LinkRequest]) -> None:
        """Answer the hello.

        Raises:
            LinkHelloError: Something else came.
            RequestTimeoutError: Nothing came.
        """
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await anext(requests, None)
        except TimeoutError as error:
            raise RequestTimeoutError(REQUEST_S) from error
        if request is None or not request.HasField("hello"):
            raise LinkHelloError
        self._edge = request.hello.edge_id[:MAX_EDGE_ID]
        logger.info("edge %r has opened a link", self._edge)
        manager = self._parts.access.manager
        await self._writer.greet(welcome(manager.incarnation))
        if manager.draining:
            self._writer.drain()

    async def _read(self, requests: AsyncIterator[LinkRequest]) -> None:
        """Do what is asked, until the edge has nothing more to say."""
        async for request in requests:
            self._silent_beats = 0
            await self._serve(request)
            await self._writer.room()

    async def _serve(self, request: LinkRequest) -> None:
        """Do what is asked. None of it waits for a store or an agent."""
        match request.WhichOneof("request"):
            case "start":
                self._follows.start(request.start)
            case "follow":
                self._follows.follow(request.follow)
            case "credit":
                self._follows.credit(request.credit)
            case "unfollow":
                await self._follows.unfollow(request.unfollow)
            case "cancel":
                await self._follows.cancel(request.cancel)
            case _:  # A heartbeat, a second hello, or what a newer edge knows.
                pass

    def _beat(self) -> None:
        """Show that the core is alive, and see whether the edge is."""
        self._silent_beats += 1
        if self._silent_beats >= SILENT_BEATS:
            self._broken.set_exception(LinkSilentError(SILENT_BEATS * HEARTBEAT_S))
            return
        self._writer.beat(HEARTBEAT_S)
        self._timer = self._loop.call_later(HEARTBEAT_S, self._beat)
