"""The writer of a link between scripted followers and an edge that notes what it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from opentelemetry.trace import INVALID_SPAN

from agent_core.rpc.link.follow import LinkFollow
from agent_core.rpc.link.writer import LinkWriter
from agent_core.rpc.refusals import Refusals
from agent_core.runs.follower import Follower
from tests.support.scripted_follower import ScriptedFollower
from tokenwire.v1.event_pb2 import Event, TextDelta
from tokenwire.v1.link_pb2 import FollowCredit, LinkResponse

PLENTY = FollowCredit(events=1_000_000, bytes=1_000_000_000)
TURNS = 5
"""After so many turns of the loop all that can happen has."""


def event(sequence: int, size: int = 1) -> bytes:
    return Event(sequence=sequence, epoch=1, text_delta=TextDelta(content="x" * size)).SerializeToString()


def some(count: int, size: int = 1) -> list[bytes]:
    return [event(sequence, size) for sequence in range(1, count + 1)]


class Edge:
    """What a writer writes to."""

    def __init__(self) -> None:
        self.responses: list[LinkResponse] = []
        self.sizes: list[int] = []
        self.over: list[tuple[int, str]] = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.writer = LinkWriter(self.write, Refusals(), self.close)

    async def write(self, message: bytes) -> None:
        await self.may_write.wait()
        self.responses.append(LinkResponse.FromString(message))
        self.sizes.append(len(message))

    async def close(self, follow: LinkFollow, code: str) -> None:
        follow.is_closed = True
        self.over.append((follow.id, code))

    def follow(self, follow_id: int, follower: ScriptedFollower, credit: FollowCredit = PLENTY) -> LinkFollow:
        """Begin a follow."""
        made = LinkFollow(
            follow_id, "tokenwire.v1.AgentService/StreamRun", INVALID_SPAN, credit, self.writer.mark
        )
        made.follower = cast(Follower, follower)
        made.begin()
        return made

    def sequences(self, follow_id: int) -> list[int]:
        return [
            event.sequence
            for response in self.responses
            for batch in response.batches
            if batch.follow_id == follow_id
            for event in batch.events
        ]


async def turns(count: int = TURNS) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def writing() -> AsyncIterator[Edge]:
    """Have a writer at work."""
    edge = Edge()
    task = asyncio.create_task(edge.writer.run(lambda: False))
    await turns()
    try:
        yield edge
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
