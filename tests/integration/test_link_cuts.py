"""A link that breaks at any byte: between messages, inside one, in the answer to the hello."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from uuid import uuid4

import pytest

from edge.errors import UpstreamError
from edge.upstream import GrpcUpstream
from edge.upstream.member import Member
from tests.support.core import Core, running_core
from tests.support.proxy import Proxy, proxy_to
from tests.support.upstream import CALLER, WITHIN_S, Reader, upstream
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1.run_pb2 import RunSpec

EDGES = 8
"""They are cut side by side: after each cut one waits for its channel to connect again."""
STEP = 11
"""The bytes between two cuts. Messages, frames and their heads have other sizes: all places are met."""


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


async def read_three(way: GrpcUpstream, then: Callable[[], None] = lambda: None) -> list[Reader]:
    """Return three runs on one link, read to their ends.

    Args:
        way: To the core.
        then: Called when all of them have begun.
    """
    readers = [await begun(way) for _ in range(3)]
    then()
    for reader in readers:
        assert await reader.read_to_end() is None
    return readers


async def linked(member: Member) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not member.is_linked:
            await asyncio.sleep(0.005)


def cut_after(proxy: Proxy, size_bytes: int) -> None:
    """Cut all connections when so much more was said."""
    for connection in proxy.connections:
        connection.left = connection.passed + size_bytes


async def one_edge(core: Core, cuts: range) -> tuple[int, list[Reader]]:
    """Cut an edge's connection at each of these bytes of what the core says; return how often it was cut."""
    readers: list[Reader] = []
    async with AsyncExitStack() as stack:
        proxy: Proxy = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, (member,) = await stack.enter_async_context(upstream(proxy.address))
        for cut in cuts:
            await linked(member)
            readers += await read_three(way, partial(cut_after, proxy, cut))
        return proxy.cuts, readers


@pytest.mark.usefixtures("metrics")
async def test_streams_over_a_link_that_is_cut_at_any_byte_are_whole(metrics: Home) -> None:
    """Each event once and in order, one end: the client is not even told."""
    assert metrics is not None
    async with running_core() as core:
        async with upstream(f"127.0.0.1:{core.server.port}") as (way, _):
            expected = (await read_three(way))[0].sequences
        size = await bytes_of_three(core)
        assert size > EDGES * STEP
        each = await asyncio.gather(
            *(one_edge(core, range(1 + STEP * edge, size, STEP * EDGES)) for edge in range(EDGES))
        )
    readers = [reader for _, of_one in each for reader in of_one]
    assert [reader.sequences for reader in readers] == [expected] * len(readers)
    assert sum(cuts for cuts, _ in each) >= len(range(1, size, STEP)) * 0.9, "cuts were missed"
    assert RESUMES.points()[BY_EDGE,].value > 0


async def bytes_of_three(core: Core) -> int:
    """Return how much the core says on a link for three runs."""
    async with AsyncExitStack() as stack:
        proxy = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, (member,) = await stack.enter_async_context(upstream(proxy.address))
        await linked(member)
        begun = 0

        def count() -> None:
            nonlocal begun
            begun = sum(connection.passed for connection in proxy.connections)

        await read_three(way, count)
        return sum(connection.passed for connection in proxy.connections) - begun
