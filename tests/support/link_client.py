"""A raw client of a link: it sends requests and collects what comes, without any logic of an edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from tests.support.core import Core
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.link_pb2 import (
    FollowCredit,
    LinkBatch,
    LinkCaller,
    LinkCredit,
    LinkFollow,
    LinkHello,
    LinkRequest,
    LinkResponse,
    LinkStart,
    LinkUnfollow,
)
from tokenwire.v1.run_pb2 import Cursor, RunSpec

PLENTY = FollowCredit(events=1_000_000, bytes=1_000_000_000)
WITHIN_S = 20.0


class LinkClient:
    """One link.

    Args:
        call: The call, open.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.responses: list[LinkResponse] = []
        """All that has come."""
        self._reading: asyncio.Task[None] | None = None
        self._came = asyncio.Event()

    async def hello(self, edge_id: str = "test", *, reads: bool = True) -> LinkResponse:
        """Open the link, and return what answers; from then on, or from `read` on, all is collected."""
        await self.send(LinkRequest(hello=LinkHello(edge_id=edge_id)))
        first: LinkResponse = await asyncio.wait_for(self.call.read(), WITHIN_S)
        self.responses.append(first)
        if reads:
            self.read()
        return first

    def read(self) -> None:
        """Collect what comes."""
        self._reading = asyncio.create_task(self._read())

    async def send(self, request: LinkRequest) -> None:
        await self.call.write(request)

    async def start(
        self,
        follow_id: int,
        agent: str,
        message: str = "Hello",
        *,
        credit: FollowCredit = PLENTY,
        caller: LinkCaller | None = None,
        **spec: object,
    ) -> None:
        run = RunSpec(agent=agent, message=message, **spec)
        start = LinkStart(follow_id=follow_id, run=run, caller=caller, credit=credit)
        await self.send(LinkRequest(start=start))

    async def follow(
        self,
        follow_id: int,
        run_id: str,
        sequence: int = 0,
        *,
        credit: FollowCredit = PLENTY,
        caller: LinkCaller | None = None,
    ) -> None:
        after = Cursor(epoch=1, sequence=sequence) if sequence else None
        follow = LinkFollow(follow_id=follow_id, run_id=run_id, after=after, caller=caller, credit=credit)
        await self.send(LinkRequest(follow=follow))

    async def credit(self, follow_id: int, events: int, size_bytes: int = 0) -> None:
        credit = FollowCredit(events=events, bytes=size_bytes)
        await self.send(LinkRequest(credit=LinkCredit(follow_id=follow_id, credit=credit)))

    async def unfollow(self, follow_id: int, reason: Any) -> None:
        await self.send(LinkRequest(unfollow=LinkUnfollow(follow_id=follow_id, reason=reason)))

    def batches(self, follow_id: int) -> list[LinkBatch]:
        """Return what has come for a follow."""
        return [
            batch for response in self.responses for batch in response.batches if batch.follow_id == follow_id
        ]

    def events(self, follow_id: int) -> list[Event]:
        """Return the events that have come for a follow."""
        return [event for batch in self.batches(follow_id) for event in batch.events]

    def controls(self, follow_id: int) -> list[str]:
        """Return the names of the controls that have come for a follow."""
        return [
            str(batch.control.WhichOneof("control"))
            for batch in self.batches(follow_id)
            if batch.HasField("control")
        ]

    def run_id(self, follow_id: int) -> str:
        """Return the run that a follow is of."""
        return self.batches(follow_id)[0].run_id

    def has_ended(self, follow_id: int) -> bool:
        return any(batch.HasField("end") for batch in self.batches(follow_id))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds of what has come.

        Raises:
            AssertionError: The link was over before.
            TimeoutError: It took too long.
        """
        assert self._reading is not None
        async with asyncio.timeout(WITHIN_S):
            while not holds():
                assert not self._reading.done(), "the link is over"
                self._came.clear()
                await self._came.wait()

    async def ended(self, follow_id: int) -> LinkBatch:
        """Return the last batch of a follow, when it is over."""
        await self.until(lambda: self.has_ended(follow_id))
        return self.batches(follow_id)[-1]

    async def over(self) -> grpc.StatusCode:
        """Return how the link ends, when it does."""
        async with asyncio.timeout(WITHIN_S):
            code: grpc.StatusCode = await self.call.code()
        return code

    async def refused(self) -> tuple[str, str]:
        """Return the code and the reason with which the link ends."""
        code = await self.over()
        metadata = dict(await self.call.trailing_metadata() or ())
        status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        return code.name, info.reason

    async def _read(self) -> None:
        try:
            while (response := await self.call.read()) is not grpc.aio.EOF:
                self.responses.append(response)
                self._came.set()
        except grpc.aio.AioRpcError:
            pass  # `over` tells how.
        finally:
            self._came.set()

    async def aclose(self) -> None:
        """Break the link."""
        self.call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def linked(core: Core, metadata: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[LinkClient]:
    """Have a link to a core; broken off at the end."""
    async with opened(core.stub.Link(metadata=metadata)) as client:
        await client.hello()
        yield client


@asynccontextmanager
async def opened(call: Any) -> AsyncIterator[LinkClient]:
    """Have a link whose call is open, and whose hello is still to be sent."""
    client = LinkClient(call)
    try:
        yield client
    finally:
        await client.aclose()
