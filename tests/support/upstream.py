"""The edge's way to cores without HTTP, and what reads a run over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from opentelemetry.context import Context

from edge.errors import EdgeError
from edge.upstream import Caller, CoreSecurity, GrpcUpstream, LinkSettings
from edge.upstream.member import Member
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import event_pb2, stream_pb2

WITHIN_S = 30.0
CALLER = Caller(Context(), "anonymous")


class Reader:
    """Reads a run through the upstream: a sink that keeps what it is told."""

    def __init__(self) -> None:
        self.full = False
        self.run_id = ""
        self.sequences: list[int] = []
        self.controls: list[str] = []
        self.clocks: list[SenderClock] = []
        self.flushes = 0
        self.ends: list[EdgeError | None] = []
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the run was read to its terminal event."""
        return self.ends == [None]

    def begin(self, run_id: str) -> None:
        assert not self.run_id, "it begins once"
        self.run_id = run_id

    def arrived(self, clock: SenderClock, recv_nano: int, size_bytes: int) -> None:
        assert self.run_id
        assert recv_nano > 0
        assert size_bytes >= 0
        self.clocks.append(clock)

    def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        assert epoch == event.epoch
        assert not self.ends
        self.sequences.append(sequence)

    def control(self, control: stream_pb2.Control) -> None:
        self.controls.append(str(control.WhichOneof("control")))

    def flush(self) -> None:
        self.flushes += 1
        self._changed.set()

    def end(self, failure: EdgeError | None) -> None:
        self.ends.append(failure)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once something holds."""
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def read_events(self, count: int) -> None:
        """Return once so many more events have come."""
        goal = len(self.sequences) + count
        await self.until(lambda: len(self.sequences) >= goal or bool(self.ends))
        assert len(self.sequences) >= goal, f"it has ended: {self.ends}"

    async def read_to_end(self) -> EdgeError | None:
        """Return why the stream has ended before its run, once it has: None for the terminal event."""
        await self.until(lambda: bool(self.ends))
        assert len(self.ends) == 1
        return self.ends[0]


@asynccontextmanager
async def upstream(
    *targets: str, transport: str = "link", budget_bytes: int = 256 * 1024, waits_for_links: bool = True
) -> AsyncIterator[tuple[GrpcUpstream, list[Member]]]:
    """Run the way to some cores, each of which has told how it stands, and has its link where it is to."""
    cores = GrpcUpstream(targets, CoreSecurity(), link=LinkSettings(transport == "link", budget_bytes))
    try:
        async with asyncio.timeout(WITHIN_S):
            while not all(member.status for member in cores._cores.members):
                await asyncio.sleep(0.01)
            while (
                waits_for_links
                and transport == "link"
                and not all(member.is_linked for member in cores._cores.members)
            ):
                await asyncio.sleep(0.01)
        yield cores, cores._cores.members
    finally:
        await cores.close()


async def stop(cores: GrpcUpstream, run_id: str) -> None:
    """Stop a run."""
    await cores.cancel_run(run_id, pb.CANCEL_CAUSE_STOP, CALLER)
