"""A link that breaks at each border of an HTTP/2 frame, and inside each frame that holds something of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from edge.errors import UpstreamError
from edge.upstream import GrpcUpstream
from edge.upstream.member import Member
from tests.support.core import Core, running_core
from tests.support.frames import FrameCut
from tests.support.proxy import Proxy, proxy_to
from tests.support.upstream import CALLER, WITHIN_S, Reader, upstream
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1.run_pb2 import RunSpec

EDGES: Final = 6
"""They are cut side by side: after each cut one waits for its channel to connect again."""
RUNS: Final = 3
OPENING_FRAMES: Final = 20
"""The frames of a new connection up to the first events of the runs: settings, pings, the hello's answer,
events."""

Cut = Callable[[Proxy], None]


async def begun(way: GrpcUpstream) -> Reader:
    """Return a run whose first event has come: a start whose answer was lost is repeated, as clients do."""
    spec = RunSpec(agent="counts", message="8 20", request_id=uuid4().hex)
    async with asyncio.timeout(WITHIN_S):
        while True:
            reader = Reader()
            way.stream_run(spec, CALLER).start(reader)
            await reader.until(lambda reader=reader: bool(reader.sequences or reader.ends))
            if reader.sequences:
                return reader
            assert isinstance(reader.ends[0], UpstreamError)
            assert reader.ends[0].retryable


async def read_runs(way: GrpcUpstream, then: Callable[[], None]) -> list[Reader]:
    """Return runs on one link, read to their ends.

    Args:
        way: To the core.
        then: Called when all of them have begun.
    """
    readers = [await begun(way) for _ in range(RUNS)]
    then()
    for reader in readers:
        assert await reader.read_to_end() is None
    return readers


async def linked(member: Member) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not member.is_linked:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def edge_of(core: Core) -> AsyncIterator[tuple[Proxy, GrpcUpstream, Member]]:
    """Have an edge whose connection to a core can be cut."""
    with proxy_to(f"127.0.0.1:{core.server.port}", reads_frames=True) as proxy:
        async with upstream(proxy.address) as (way, (member,)):
            yield proxy, way, member


def frames_of(proxy: Proxy) -> int:
    return sum(each.frames.passed for each in proxy.connections if each.frames is not None)


async def frames_of_runs(core: Core) -> tuple[int, list[int]]:
    """Return how many frames the core says for the runs once they have begun, and the events of each run."""
    async with edge_of(core) as (proxy, way, member):
        await linked(member)
        begun = 0

        def count() -> None:
            nonlocal begun
            begun = frames_of(proxy)

        readers = await read_runs(way, count)
        return frames_of(proxy) - begun, readers[0].sequences


def cut_now(cut: FrameCut) -> Cut:
    """Cut the connection that there is, counted from now on."""

    def armed(proxy: Proxy) -> None:
        for connection in proxy.connections:
            assert connection.frames is not None
            connection.frames.cut(cut)

    return armed


def cut_next(cut: FrameCut) -> Cut:
    """Cut the connection that there is at once, and the one that follows it as it is said."""

    def armed(proxy: Proxy) -> None:
        proxy.next_cut = cut
        proxy.cut()

    return armed


async def cut_edge(core: Core, cuts: Sequence[Cut]) -> tuple[int, list[Reader]]:
    """Cut an edge's connection, each time under new runs; return how often it was cut, and what came."""
    readers: list[Reader] = []
    async with edge_of(core) as (proxy, way, member):
        for cut in cuts:
            await linked(member)
            readers += await read_runs(way, lambda cut=cut: cut(proxy))
        return proxy.cuts, readers


async def test_streams_over_a_link_that_is_cut_at_any_frame_are_whole(metrics: Home) -> None:
    """Each event once and in order, one end: the client is not even told."""
    assert metrics is not None
    async with running_core() as core:
        frames, expected = await frames_of_runs(core)
        assert frames > len(expected), "each step of the runs has a message"
        now = [cut_now(FrameCut(after, inside)) for inside in (False, True) for after in range(frames)]
        later = [
            cut_next(FrameCut(after, inside)) for inside in (False, True) for after in range(OPENING_FRAMES)
        ]
        cuts = now + later
        each = await asyncio.gather(*(cut_edge(core, cuts[edge::EDGES]) for edge in range(EDGES)))
    readers = [reader for _, of_one in each for reader in of_one]
    assert [reader.sequences for reader in readers] == [expected] * len(readers)
    # A run that was slower than the one that was counted has ended before its cut.
    assert sum(count for count, _ in each) >= (len(now) + 2 * len(later)) * 0.9, "cuts were missed"
    assert RESUMES.points()[BY_EDGE,].value > 0
