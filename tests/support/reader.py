"""A client that follows one run to its end, whatever breaks: at its cursor, at one core after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle

import grpc

from tests.support.reading import Reading
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub

AGAIN_S = 0.1
"""How long it waits before it follows again."""

WITHIN_S = 20.0
"""How long tests wait for what takes a moment on a machine that has nothing else to do."""


class Reader:
    """Reads as soon as it is made. `aclose` it.

    Args:
        run_id: The run.
        addresses: The cores at which it follows, in turn.
    """

    def __init__(self, run_id: str, addresses: Sequence[str]) -> None:
        self.reading = Reading()
        self.connections = 0
        """How often it has begun to follow."""
        self.run_id = run_id
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read(addresses), name=f"read {run_id}")
        self._task.add_done_callback(lambda _: self._news.set())

    async def until(self, true: Callable[[Reading], bool], within_s: float = WITHIN_S) -> None:
        """Return once something holds of what was read.

        Raises:
            AssertionError: It did not within the time, or the run has ended before.
        """
        try:
            async with asyncio.timeout(within_s):
                while not true(self.reading):
                    assert not self._task.done(), f"it has ended: {self._how_far()}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within_s:g} s: {self._how_far()}") from None

    async def more(self, count: int, within_s: float = WITHIN_S) -> None:
        """Return once so many more events were read."""
        wanted = len(self.reading.events) + count
        await self.until(lambda reading: len(reading.events) >= wanted, within_s)

    async def whole(self, within_s: float = WITHIN_S) -> Reading:
        """Return what was read once the run has ended: without any fault.

        Raises:
            AssertionError: It has one, or did not end within the time.
        """
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(self._task)
        except TimeoutError:
            raise AssertionError(f"no end within {within_s:g} s: {self._how_far()}") from None
        assert self.reading.faults() == []
        return self.reading

    async def aclose(self) -> None:
        """Leave."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self, addresses: Sequence[str]) -> None:
        for address in cycle(addresses):
            try:
                await self._follow(address)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            if self.reading.ended:
                return
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, address: str) -> None:
        """Read at one core for as long as that goes."""
        self.connections += 1
        async with grpc.aio.insecure_channel(address) as channel:
            request = pb.FollowRunRequest(run_id=self.run_id, after=self.reading.cursor)
            call = AgentServiceStub(channel).FollowRun(request)
            try:
                async for response in call:
                    self.reading.feed(response)
                    self._news.set()
            finally:
                call.cancel()

    def _how_far(self) -> str:
        reading = self.reading
        return (
            f"{len(reading.events)} events, {self.connections} connections, controls {reading.controls}, "
            f"faults {reading.faults()}"
        )


@asynccontextmanager
async def reading(run_id: str, *addresses: str) -> AsyncIterator[Reader]:
    """Follow a run at these cores, in turn, while the context lasts."""
    reader = Reader(run_id, addresses)
    try:
        yield reader
    finally:
        await reader.aclose()
