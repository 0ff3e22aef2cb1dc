"""What becomes of a link's streams when one of them fails at the core, or when one direction is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final
from uuid import uuid4

import pytest

from agent_core.rpc.link import session
from agent_core.runs.follower import Follower
from edge.upstream import Leave, RunCall, retry_policy
from edge.upstream import link as edge_link
from edge.upstream import member as member_module
from tests.support.core import running_core
from tests.support.proxy import proxy_to
from tests.support.upstream import CALLER, WITHIN_S, Reader, upstream
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1.run_pb2 import RunSpec

STREAMS: Final = 20


async def started(way: Any) -> tuple[list[Reader], list[RunCall]]:
    """Start runs that go on for long, and read the first events of each."""
    readers = [Reader() for _ in range(STREAMS)]
    calls = [
        way.stream_run(RunSpec(agent="slow", message="hi", request_id=uuid4().hex), CALLER) for _ in readers
    ]
    for call, reader in zip(calls, readers, strict=True):
        call.start(reader)
    await asyncio.gather(*(reader.read_events(2) for reader in readers))
    return readers, calls


def require_whole(readers: list[Reader]) -> None:
    """Fail unless each has all events from the first on, and goes on."""
    for reader in readers:
        assert reader.sequences == list(range(1, len(reader.sequences) + 1))
        assert not reader.ends


async def test_a_follow_that_fails_at_the_core_ends_alone(
    monkeypatch: pytest.MonkeyPatch, metrics: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client is told INTERNAL and nothing of what was raised; the others go on over the same link."""
    assert metrics is not None
    poll = Follower.poll
    broken: set[str] = set()

    def polled(follower: Follower, *limits: int) -> Any:
        if follower.run_id in broken:
            raise RuntimeError("secret of the log")
        return poll(follower, *limits)

    monkeypatch.setattr(Follower, "poll", polled)
    monkeypatch.setattr(retry_policy, "WITHOUT_CORE_S", 0.2)  # the edge follows again for a while
    async with running_core() as core, upstream(f"127.0.0.1:{core.server.port}") as (way, (member,)):
        readers, calls = await started(way)
        broken.add(readers[0].run_id)
        failure = await readers[0].read_to_end()
        assert failure
        assert failure.code == "INTERNAL"
        assert "secret" not in f"{failure.message} {failure.details}"
        await asyncio.gather(*(reader.read_events(5) for reader in readers[1:]))
        require_whole(readers[1:])
        assert member.streams == STREAMS - 1
        for call in calls:
            call.close(Leave.LEFT)
    assert (BY_EDGE,) not in RESUMES.points(), "the link was replaced"
    assert "secret of the log" in caplog.text


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both sides measure silence in tenths of a second."""
    monkeypatch.setattr(edge_link, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(member_module, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(member_module, "ASK_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("answers", [False, True], ids=["asked", "answered"])
async def test_a_connection_that_has_lost_one_direction_is_replaced_and_its_streams_go_on(
    metrics: Home, answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it stays open, as behind a stuck proxy: heartbeats are missing, and a new one is answered."""
    assert metrics is not None
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(running_core())
        proxy = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, (member,) = await stack.enter_async_context(upstream(proxy.address))
        readers, calls = await started(way)
        proxy.stall(answers=answers)
        async with asyncio.timeout(WITHIN_S):
            while RESUMES.points() == {} or RESUMES.points()[BY_EDGE,].value < STREAMS:
                await asyncio.sleep(0.02)
        await asyncio.gather(*(reader.read_events(5) for reader in readers))
        require_whole(readers)
        assert member.is_linked
        assert member.streams == STREAMS
        for call in calls:
            call.close(Leave.LEFT)
    assert caplog.text.count("answers over a new connection") == 1


@pytest.mark.usefixtures("fast")
async def test_the_connection_to_a_core_that_stands_still_is_kept(metrics: Home) -> None:
    """However often it is doubted: a new one is not answered either, and when the core goes on, all do."""
    assert metrics is not None
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(running_core())
        proxy = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, _ = await stack.enter_async_context(upstream(proxy.address))
        readers, calls = await started(way)
        proxy.freeze(answers_only=True)  # the core still hears its edge: it would give it up after 1.5 s
        async with asyncio.timeout(WITHIN_S):
            while proxy.accepted < 4:
                await asyncio.sleep(0.02)
        assert all(call.is_silent for call in calls)
        proxy.thaw()
        await asyncio.gather(*(reader.read_events(60) for reader in readers))
        require_whole(readers)
        assert (BY_EDGE,) not in RESUMES.points()
        assert proxy.cuts == 0
        for call in calls:
            call.close(Leave.LEFT)
