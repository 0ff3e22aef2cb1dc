"""Cores that hang, seen by the edge: a relay holds back what they are asked, or what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest

from edge.errors import UpstreamError
from edge.upstream import GrpcUpstream, Leave, RunsPage, cores, member, run_call, start_call
from edge.upstream.member import Member
from tests.support.core import Core, running_core
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis_server import shared_redis
from tests.support.upstream import CALLER, WITHIN_S, Reader, stop, upstream
from tokenwire.v1.run_pb2 import RunSpec


@dataclass
class Two:
    """Two cores that share their runs, the first of which can hang."""

    way: GrpcUpstream
    hangs: Member
    relay: Proxy
    core: Core
    """The one that hangs."""
    other: Core

    def busy_other(self) -> None:
        """Have the next start go to the core that hangs."""
        next(member for member in self.members if member is not self.hangs).streams += 30

    @property
    def members(self) -> list[Member]:
        return self.way._cores.members

    async def thawed(self) -> None:
        """Let the core wake up; return once it has had all that it was asked meanwhile."""
        self.relay.thaw()
        async with asyncio.timeout(WITHIN_S):
            while not self.hangs.answers:
                await asyncio.sleep(0.02)

    async def runs_of(self, session: str) -> list[str]:
        """Return the ids of a session's runs."""
        answer = await self.way.list_runs(RunsPage(session, 10, ""), CALLER)
        return [run.run_id for run in answer.runs]


@pytest.fixture
async def two(transport: str) -> AsyncIterator[Two]:
    """Two cores on one Redis, and the way to them."""
    settings = {"store": shared_redis().url, "redis_prefix": uuid4().hex, "drain_s": 1.0}
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(running_core(**settings)) for _ in range(2)]
        relay = stack.enter_context(proxy_to(f"127.0.0.1:{one.server.port}"))
        targets = relay.address, f"127.0.0.1:{other.server.port}"
        way, members = await stack.enter_async_context(upstream(*targets, transport=transport))
        yield Two(way, members[0], relay, one, other)
        relay.thaw()


def question(agent: str = "echo") -> RunSpec:
    return RunSpec(agent=agent, message="hi", request_id=uuid4().hex, session_id=uuid4().hex)


async def whole(reader: Reader, way: GrpcUpstream, spec: RunSpec) -> None:
    """Start a run and read it to its end."""
    way.stream_run(spec, CALLER).start(reader)
    assert await reader.read_to_end() is None


@pytest.mark.needs("redis")
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("taken", [True, False])
async def test_a_start_at_a_core_that_hangs_is_taken_elsewhere_and_runs_once(
    two: Two, streamed: bool, taken: bool
) -> None:
    """Whether the core had taken it before it hung, or gets it when it wakes: the request has one run."""
    two.busy_other()
    two.relay.freeze(answers_only=taken)
    spec = question()
    reader = Reader()
    if streamed:
        await whole(reader, two.way, spec)
        run_id = reader.run_id
    else:
        run_id = (await asyncio.wait_for(two.way.start_run(spec, CALLER), WITHIN_S)).run_id
    minted_by = (two.core if taken else two.other).server.manager.incarnation
    assert run_id.startswith(minted_by)
    await two.thawed()
    assert await two.runs_of(spec.session_id) == [run_id]


@pytest.mark.needs("redis")
async def test_a_stream_leaves_a_core_that_hangs(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on at the other one, without a gap, though the first keeps its connection."""
    monkeypatch.setattr(run_call, "FOLLOW_SILENCE_S", 1.0)
    two.busy_other()
    reader = Reader()
    call = two.way.stream_run(question("slow"), CALLER)
    call.start(reader)
    try:
        await reader.read_events(3)
        assert two.hangs.streams == 1
        two.relay.freeze()
        await reader.read_events(10)
        assert two.hangs.streams == 0
        assert reader.sequences == list(range(1, len(reader.sequences) + 1))
        await stop(two.way, reader.run_id)
    finally:
        call.close(Leave.BROKEN)


@pytest.mark.needs("redis")
async def test_a_run_of_a_core_that_hangs_is_told_of_and_stopped_by_another(two: Two) -> None:
    """State, list and Stop do not wait for it."""
    two.busy_other()
    spec = question("silent")
    run = await two.way.start_run(spec, CALLER)
    assert run.run_id.startswith(two.core.server.manager.incarnation)
    two.relay.freeze()
    async with asyncio.timeout(WITHIN_S):
        states = asyncio.gather(two.way.get_run(run.run_id, CALLER), two.runs_of(spec.session_id))
        assert (await states)[1] == [run.run_id]
        await stop(two.way, run.run_id)
        while run.run_id in two.core.server.manager.registry:
            await asyncio.sleep(0.02)


async def test_a_start_at_the_only_core_ends_in_an_error_when_that_hangs(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Streamed or not: UNAVAILABLE, retryable, with the reason."""
    monkeypatch.setattr(start_call, "START_SILENCE_S", 1.0)
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(running_core())
        relay = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, _ = await stack.enter_async_context(upstream(relay.address, transport=transport))
        relay.freeze()
        reader = Reader()
        way.stream_run(question(), CALLER).start(reader)
        ends = await asyncio.gather(
            reader.read_to_end(), way.start_run(question(), CALLER), return_exceptions=True
        )
        relay.thaw()
        for error in ends:
            assert isinstance(error, UpstreamError)
            assert (error.code, error.retryable) == ("UNAVAILABLE", True)
            assert error.details == {"reason": "CORE_NOT_ANSWERING"}


@pytest.mark.needs("redis")
async def test_a_core_that_is_slow_to_start_a_run_is_not_taken_for_hung(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it answers what it is asked of itself: its agent may have to be loaded."""
    monkeypatch.setattr(start_call, "START_SILENCE_S", 0.0)
    monkeypatch.setattr(member, "ASK_EVERY_S", 0.05)
    may_start = asyncio.Event()
    manager = two.core.server.manager
    start, asked = manager.start, asyncio.Event()

    async def slow(*args: object, **more: object) -> str:
        asked.set()
        await may_start.wait()
        return await start(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(manager, "start", slow)
    two.busy_other()
    starting = asyncio.create_task(two.way.start_run(question(), CALLER))
    await asyncio.wait_for(asked.wait(), WITHIN_S)
    questions = 0
    while questions < 10:  # so often it was asked how it stands
        two.hangs.answers = False
        while not two.hangs.answers:
            await asyncio.sleep(0.01)
        questions += 1
    assert not starting.done()
    may_start.set()
    run = await asyncio.wait_for(starting, WITHIN_S)
    assert run.run_id.startswith(manager.incarnation)


@pytest.mark.needs("redis")
async def test_an_outage_of_a_core_is_two_lines_whatever_it_interrupts(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    """When it goes away, and when it is back: with the duration, and what became of the streams."""
    caplog.set_level(logging.INFO)
    readers = [Reader() for _ in range(20)]
    calls = [two.way.stream_run(question("slow"), CALLER) for _ in readers]
    try:
        for call, reader in zip(calls, readers, strict=True):
            call.start(reader)
        await asyncio.gather(*(reader.read_events(2) for reader in readers))
        at_it = two.hangs.streams
        assert at_it > 0
        caplog.clear()
        two.relay.freeze()
        two.relay.cut()  # what is new hangs
        await asyncio.gather(*(reader.read_events(5) for reader in readers))
        await two.thawed()
    finally:
        for call in calls:
            call.close(Leave.BROKEN)
    lines = [record for record in caplog.records if record.name.startswith("edge")]
    assert [record.levelno for record in lines] == [logging.WARNING] * 2
    away, back = (record.getMessage() for record in lines)
    assert away.startswith(f"core {two.hangs.target} does not answer")
    assert back.startswith(f"core {two.hangs.target} answers again after ")
    assert back.endswith(f"; {at_it} streams were interrupted, 0 of them failed")


async def test_a_core_that_is_not_there_at_the_start_is_told_of_at_level_warning(
    caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    """With the setting that may be wrong."""
    caplog.set_level(logging.WARNING)
    target = f"127.0.0.1:{unused_tcp_port}"
    way = GrpcUpstream([target], cores.CoreSecurity())
    try:
        assert not await way.ready()
        assert not await way.ready()
    finally:
        await way.close()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("edge")]
    assert lines == [f"core {target} does not answer: check that it runs, and TOKENWIRE_CORE"]
