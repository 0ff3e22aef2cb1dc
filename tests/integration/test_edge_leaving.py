"""What a core learns of a client that has gone, over a link and over calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from edge.errors import UpstreamError
from edge.upstream import GrpcUpstream, Leave, departures, run_call
from tests.support.core import Core, running_core
from tests.support.upstream import CALLER, WITHIN_S, Reader, upstream
from tokenwire.cursor import START
from tokenwire.outage import Repeats
from tokenwire.v1 import run_pb2
from tokenwire.v1.run_pb2 import Run, RunSpec


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with running_core() as running:
        yield running


@pytest.fixture
async def way(core: Core, transport: str) -> AsyncIterator[GrpcUpstream]:
    async with upstream(f"127.0.0.1:{core.server.port}", transport=transport) as (cores, _):
        yield cores


def spec(**fields: object) -> RunSpec:
    return RunSpec(agent="slow", message="hi", request_id=uuid4().hex, **fields)  # type: ignore[arg-type]


async def ended(core: Core, run_id: str) -> Run:
    """Return a run's state once it has ended."""
    async with asyncio.timeout(WITHIN_S):
        while (run := await core.run(run_id)).state != run_pb2.RUN_STATE_ENDED:
            await asyncio.sleep(0.02)
    return run


async def test_a_client_that_leaves_ends_its_run_at_once(core: Core, way: GrpcUpstream) -> None:
    """As OnDisconnect says; one that was evicted or drained does not: the run waits for its return."""
    readers = {reason: Reader() for reason in (Leave.LEFT, Leave.EVICTED, Leave.DRAINED, Leave.BROKEN)}
    calls = {reason: way.stream_run(spec(), CALLER) for reason in readers}
    for reason, call in calls.items():
        call.start(readers[reason])
    await asyncio.gather(*(reader.read_events(2) for reader in readers.values()))
    for reason, call in calls.items():
        call.close(reason)
        call.close(Leave.LEFT)
    run = await ended(core, readers[Leave.LEFT].run_id)
    assert run.outcome.reason == "cancelled"
    for reason in (Leave.EVICTED, Leave.DRAINED, Leave.BROKEN):
        assert (await core.run(readers[reason].run_id)).state == run_pb2.RUN_STATE_RUNNING, reason
        assert readers[reason].ends == []


async def test_a_client_that_leaves_before_its_run_has_begun_ends_it(
    core: Core, way: GrpcUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is not known yet; nobody is told anything of it."""
    manager, asked, may_start = core.server.manager, asyncio.Event(), asyncio.Event()
    start, started = manager.start, asyncio.get_running_loop().create_future()

    async def slow(*args: object, **more: object) -> str:
        asked.set()
        await may_start.wait()
        run_id = await start(*args, **more)  # type: ignore[arg-type]
        started.set_result(run_id)
        return run_id

    monkeypatch.setattr(manager, "start", slow)
    reader = Reader()
    call = way.stream_run(spec(), CALLER)
    call.start(reader)
    async with asyncio.timeout(WITHIN_S):
        await asked.wait()
        call.close(Leave.LEFT)
        may_start.set()
        run_id = await started
    assert (await ended(core, run_id)).outcome.reason == "cancelled"
    assert reader.run_id == ""
    assert reader.ends == []


async def test_a_follower_that_leaves_while_another_one_stays_ends_nothing(
    core: Core, way: GrpcUpstream
) -> None:
    """The run's OnDisconnect is of its last follower."""
    stays, leaves = Reader(), Reader()
    staying = way.stream_run(spec(), CALLER)
    staying.start(stays)
    await stays.read_events(2)
    leaving = way.follow_run(stays.run_id, START, CALLER)
    leaving.start(leaves)
    await leaves.until(lambda: "caught_up" in leaves.controls)
    leaving.close(Leave.LEFT)
    await stays.read_events(5)
    staying.close(Leave.LEFT)
    assert (await ended(core, stays.run_id)).outcome.reason == "cancelled"


async def test_what_can_not_be_started_or_followed_says_why(way: GrpcUpstream) -> None:
    """The same over both, with what programs need to know; and the sink never begins."""
    readers = [Reader() for _ in range(3)]
    way.stream_run(RunSpec(agent="nobody", message="hi"), CALLER).start(readers[0])
    way.stream_run(RunSpec(agent="echo", message=""), CALLER).start(readers[1])
    way.follow_run("0" * 30, START, CALLER).start(readers[2])
    failures = [await reader.read_to_end() for reader in readers]
    assert [failure and (failure.code, failure.details["reason"]) for failure in failures] == [
        ("NOT_FOUND", "AGENT_UNKNOWN"),
        ("INVALID_ARGUMENT", "INVALID_REQUEST"),
        ("DATA_LOSS", "RUN_LOG_LOST"),
    ]
    assert failures[1]
    assert failures[1].details["field"] == "message"
    assert [reader.run_id for reader in readers] == [""] * 3


async def test_a_start_that_hangs_is_left_in_time(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a client that does not know its run: over calls the edge waits for the id, and then gives up."""
    monkeypatch.setattr(run_call, "LEAVE_TIMEOUT_S", 0.1)
    asked = asyncio.Event()

    async def never(*args: object, **more: object) -> str:
        del args, more
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(core.server.manager, "start", never)
    async with upstream(f"127.0.0.1:{core.server.port}", transport="call") as (way, (member,)):
        reader = Reader()
        call = way.stream_run(spec(), CALLER)
        call.start(reader)
        async with asyncio.timeout(WITHIN_S):
            await asked.wait()
            call.close(Leave.LEFT)
            assert member.streams == 1
            while member.streams:
                await asyncio.sleep(0.01)
    assert reader.ends == []


async def test_a_core_that_can_not_be_told_of_a_client_that_left_is_logged(
    way: GrpcUpstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    """Over a link there is nothing to be told twice: it says so in one step."""
    monkeypatch.setattr(departures, "_untold", Repeats())

    async def refuse(*args: object) -> Run:
        del args
        raise UpstreamError("INTERNAL")

    monkeypatch.setattr(way._departures, "_cancel_run", refuse)
    reader = Reader()
    call = way.stream_run(spec(), CALLER)
    call.start(reader)
    await reader.read_events(2)
    call.close(Leave.LEFT)
    async with asyncio.timeout(WITHIN_S):
        while way._departures.tasks:
            await asyncio.sleep(0.01)
    said = f"can't tell the core that the client of run {reader.run_id} left: INTERNAL" in caplog.text
    assert said == (transport == "call")
