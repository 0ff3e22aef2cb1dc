"""What uvicorn keeps for each connection, made smaller: of an open stream it uses nearly nothing.

Each `deque`, and so each `asyncio.Event`, takes 760 bytes although it is empty.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn

from uvicorn.protocols.http.flow_control import FlowControl


class LeanFlowControl(FlowControl):
    """uvicorn's, with an event only while somebody waits.

    Args:
        transport: The connection's.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._writable: asyncio.Event | None = None

    async def drain(self) -> None:
        """Return once the transport takes more."""
        if self.write_paused:
            self._writable = self._writable or asyncio.Event()
            await self._writable.wait()

    def pause_writing(self) -> None:
        """Note that the transport takes no more."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.write_paused = False
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set()


class Pipeline(list[Any]):
    """The requests that wait behind the one that is served: uvicorn's deque, as a list."""

    __slots__ = ()

    def appendleft(self, request: Any) -> None:
        """Add the newest one."""
        self.insert(0, request)


class UnreadEvent:
    """Stands for the event of a request that nobody receives any more."""

    __slots__ = ()

    def set(self) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""

    async def wait(self) -> NoReturn:
        """Refuse to.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("The response has opened a writer: it can't receive.")


UNREAD: Final = UnreadEvent()
