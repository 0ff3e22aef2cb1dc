"""The edge's way to cores without HTTP, and what reads a run over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.context import Context

from edge.upstream import Caller, CoreSecurity, GrpcUpstream, Progress, RunCall
from edge.upstream.cores import Member
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import Cursor

WITHIN_S = 30.0
CALLER = Caller(Context(), "anonymous")


class Reader:
    """Reads a run through the upstream, as a stream's state does."""

    def __init__(self) -> None:
        self.run_id = ""
        self.sequences: list[int] = []
        self.ended = False

    def progress(self) -> Progress:
        last = self.sequences[-1] if self.sequences else 0
        return Progress(self.run_id, Cursor(epoch=1, sequence=last), ended=self.ended)

    async def read(self, call: RunCall) -> pb.FollowRunResponse | None:
        """Return the next response, once it was taken in."""
        async with asyncio.timeout(WITHIN_S):
            message = await call.read()
        if message is None:
            return None
        response = pb.FollowRunResponse.FromString(message)
        self.run_id = response.run_id
        for event in response.events:
            if event.sequence > len(self.sequences):
                self.sequences.append(event.sequence)
                self.ended |= event.HasField("done") or event.HasField("error")
        return response

    async def read_events(self, call: RunCall, count: int) -> None:
        """Read until so many more events have come."""
        until = len(self.sequences) + count
        while len(self.sequences) < until:
            assert await self.read(call) is not None


@asynccontextmanager
async def upstream(*targets: str) -> AsyncIterator[tuple[GrpcUpstream, list[Member]]]:
    """Run the way to some cores; every one of them has told how it stands."""
    cores = GrpcUpstream(targets, CoreSecurity())
    try:
        async with asyncio.timeout(WITHIN_S):
            while not all(member.told for member in cores._cores.members):
                await asyncio.sleep(0.01)
        yield cores, cores._cores.members
    finally:
        await cores.close()


async def stop(cores: GrpcUpstream, run_id: str) -> None:
    """Stop a run."""
    await cores.cancel_run(run_id, pb.CANCEL_CAUSE_STOP, CALLER)
