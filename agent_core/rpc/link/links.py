"""The links of a core: let in, counted, and ended when it goes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from agent_core.errors import TooManyLinksError
from agent_core.rpc.calls import Call
from agent_core.rpc.link.opening import LinkParts
from agent_core.rpc.link.session import LinkSession
from tokenwire.limits import OverLimitError, Slots
from tokenwire.v1.link_pb2 import LinkRequest

MAX_LINKS: Final = 1_000
MAX_LINKS_PER_HOST: Final = 500
"""The most links that may be open at a time, in all and of one host. An edge process has one; behind one host
may be a proxy of many edges. Each takes about 50 kB besides its follows."""


class Links:
    """Serves links.

    Args:
        parts: What they share.
    """

    def __init__(self, parts: LinkParts) -> None:
        self._parts = parts
        self._slots = Slots(MAX_LINKS, MAX_LINKS_PER_HOST)
        self._sessions: set[LinkSession] = set()

    async def serve(self, requests: AsyncIterator[LinkRequest], call: Call) -> None:
        """Serve a link to its end.

        Raises:
            RefusalError: There are too many, or the edge does not do its part.
        """
        host = call.context.peer().rpartition(":")[0]
        try:
            self._slots.take(host)
        except OverLimitError as error:
            raise TooManyLinksError(error.most) from error
        session = LinkSession(self._parts, call)
        self._sessions.add(session)
        try:
            await session.serve(requests)
        finally:
            self._sessions.discard(session)
            self._slots.release(host)

    def drain(self) -> None:
        """Announce to all edges that the core shuts down."""
        for session in self._sessions:
            session.drain()

    def finish(self) -> None:
        """End each link as soon as all of its follows have ended."""
        for session in self._sessions:
            session.finish()

    async def aclose(self) -> None:
        """Stop what is still under way for links that are over, and return when all is closed."""
        tasks = tuple(self._parts.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._parts.closing, return_exceptions=True)
