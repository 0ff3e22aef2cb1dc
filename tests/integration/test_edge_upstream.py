"""The edge's way to several cores: real ones on one real Redis, without HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from edge.upstream import CoreSecurity, GrpcUpstream, Leave
from edge.upstream.member import Member
from tests.support.core import Core, running_core
from tests.support.proxy import proxy_to
from tests.support.redis_server import shared_redis
from tests.support.upstream import CALLER, WITHIN_S, Reader, stop, upstream
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1.run_pb2 import RunSpec


@pytest.fixture
async def cores() -> AsyncIterator[list[Core]]:
    """Three cores that share their runs."""
    settings = {"store": shared_redis().url, "redis_prefix": uuid4().hex, "drain_s": 5.0}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_core(**settings)) for _ in range(3)]


def target(core: Core) -> str:
    return f"127.0.0.1:{core.server.port}"


def spec(agent: str = "slow") -> RunSpec:
    return RunSpec(agent=agent, message="hi", request_id=uuid4().hex)


def reading_from(members: list[Member]) -> list[str]:
    """Return the cores that a stream is read from."""
    return [member.target for member in members if member.streams]


@pytest.mark.needs("redis")
@pytest.mark.usefixtures("metrics")
async def test_a_stream_leaves_a_core_that_goes_down_for_one_that_does_not(
    cores: list[Core], transport: str
) -> None:
    """With two of three going down, and without a gap: the third is busy, and takes it all the same."""
    async with upstream(*map(target, cores), transport=transport) as (way, members):
        reader = Reader()
        call = way.stream_run(spec(), CALLER)
        call.start(reader)
        try:
            await reader.read_events(3)
            (first,) = reading_from(members)
            stays = next(core for core in cores if target(core) != first)
            for member in members:
                member.streams += 30 if member.target == target(stays) else 0
            going = [core for core in cores if core is not stays]
            drains = [asyncio.create_task(core.server.manager.drain(20.0, asyncio.Event())) for core in going]
            await reader.until(lambda: members[cores.index(stays)].streams > 30)
            assert RESUMES.points()[BY_EDGE,].value <= 2, "it bounces between cores that both go down"
            await reader.read_events(3)
            assert reader.sequences == list(range(1, len(reader.sequences) + 1))
            assert "draining" not in reader.controls, "that is the upstream's own affair"
            await stop(way, reader.run_id)
            assert await reader.read_to_end() is None
            await asyncio.wait_for(asyncio.gather(*drains), WITHIN_S)
        finally:
            call.close(Leave.BROKEN)


@pytest.mark.needs("redis")
async def test_a_stream_stays_where_nobody_else_is_ready(cores: list[Core], transport: str) -> None:
    """A core that goes down serves it to its end."""
    async with upstream(target(cores[0]), transport=transport) as (way, members):
        reader = Reader()
        call = way.stream_run(spec(), CALLER)
        call.start(reader)
        try:
            await reader.read_events(2)
            drain = asyncio.create_task(cores[0].server.manager.drain(20.0, asyncio.Event()))
            async with asyncio.timeout(WITHIN_S):
                while not (members[0].status and members[0].status.draining):
                    await asyncio.sleep(0.01)
            await reader.read_events(3)
            assert reading_from(members) == [target(cores[0])]
            await stop(way, reader.run_id)
            assert await reader.read_to_end() is None
            await asyncio.wait_for(drain, WITHIN_S)
        finally:
            call.close(Leave.BROKEN)
        assert reading_from(members) == []


@pytest.mark.needs("redis")
@pytest.mark.usefixtures("metrics")
async def test_a_link_that_breaks_again_and_again_is_not_noticed(cores: list[Core], transport: str) -> None:
    """Each event comes once and in order, to the one end, at whichever core; each going on is counted."""
    async with AsyncExitStack() as stack:
        relays = [stack.enter_context(proxy_to(target(core))) for core in cores[:2]]
        way, members = await stack.enter_async_context(
            upstream(*(relay.address for relay in relays), transport=transport)
        )
        reader = Reader()
        call = way.stream_run(spec(), CALLER)
        call.start(reader)
        try:
            for _ in range(5):
                await reader.read_events(3)
                for relay in relays:
                    relay.cut()
            await reader.read_events(3)
            await stop(way, reader.run_id)
            assert await reader.read_to_end() is None
            assert reader.sequences == list(range(1, len(reader.sequences) + 1))
        finally:
            call.close(Leave.BROKEN)
        assert reading_from(members) == []
    assert RESUMES.points()[BY_EDGE,].value == 5


@pytest.mark.needs("redis")
async def test_a_core_that_hangs_makes_the_edge_no_less_ready(cores: list[Core]) -> None:
    """What another one has told is enough."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        way = GrpcUpstream([f"127.0.0.1:{silent.getsockname()[1]}", target(cores[0])], CoreSecurity())
        try:
            async with asyncio.timeout(WITHIN_S):
                while not await way.ready():
                    pass
            hangs = way._cores.members[0]
            assert hangs._asking is not None, "it is still asked"
            assert hangs.status is None
        finally:
            await way.close()
