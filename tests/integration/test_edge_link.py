"""The edge's link to a real core: many streams on one call, and what becomes of them when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from agent_core.errors import RefusalError
from agent_core.rpc.link.links import Links
from agent_core.rpc.service import AgentService
from edge.upstream import GrpcUpstream, Leave, RunCall
from edge.upstream import core as core_module
from edge.upstream.link_follow import WINDOW_EVENTS
from edge.upstream.member import Member
from tests.support.core import Core, running_core
from tests.support.proxy import Proxy, proxy_to
from tests.support.spans import Spans, spans
from tests.support.upstream import CALLER, Reader, stop, upstream
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import event_pb2
from tokenwire.v1.run_pb2 import RunSpec

__all__ = ["spans"]


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with running_core() as running:
        yield running


def spec(agent: str = "slow", message: str = "hi") -> RunSpec:
    return RunSpec(agent=agent, message=message, request_id=uuid4().hex)


def follows(member: Member) -> int:
    """Return how many follows are on a core's link."""
    assert member._link is not None
    return len(member._link._follows)


async def started(way: GrpcUpstream, count: int) -> tuple[list[Reader], list[RunCall]]:
    """Start so many runs that go on, and read the first events of each."""
    readers = [Reader() for _ in range(count)]
    calls = [way.stream_run(spec(), CALLER) for _ in readers]
    for call, reader in zip(calls, readers, strict=True):
        call.start(reader)
    await asyncio.gather(*(reader.read_events(2) for reader in readers))
    return readers, calls


def tasks_of_the_edge() -> list[str]:
    """Return what tasks of the edge there are."""
    running = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return [
        code.co_qualname for code in running if code is not None and "/edge/upstream/" in code.co_filename
    ]


def are_whole(readers: list[Reader]) -> bool:
    """Return whether each has all events from the first on, in order."""
    return all(reader.sequences == list(range(1, len(reader.sequences) + 1)) for reader in readers)


async def test_many_streams_share_one_call(core: Core) -> None:
    """And leave nothing behind on it, however they end."""
    async with upstream(f"127.0.0.1:{core.server.port}") as (way, (member,)):
        readers, calls = await started(way, 40)
        assert follows(member) == member.streams == 40
        assert len(tasks_of_the_edge()) < 10, "a follow has a task of its own"
        for call in calls[:10]:
            call.close(Leave.LEFT)
        await asyncio.gather(*(stop(way, reader.run_id) for reader in readers[10:]))
        assert [await reader.read_to_end() for reader in readers[10:]] == [None] * 30
        assert are_whole(readers)
        assert follows(member) == member.streams == 0


async def test_a_client_that_does_not_read_holds_nobody_up_and_misses_nothing(core: Core) -> None:
    """It gets what its credit allows; the rest waits in the core's log until it has room."""
    words = 3 * WINDOW_EVENTS
    async with upstream(f"127.0.0.1:{core.server.port}", budget_bytes=1024 * 1024) as (way, (member,)):
        stuck = Reader()
        stuck.full = True
        call = way.stream_run(spec("echo", "x " * words), CALLER)
        call.start(stuck)
        others = [Reader() for _ in range(3)]
        await stuck.until(lambda: len(stuck.sequences) >= WINDOW_EVENTS)
        for reader in others:
            way.stream_run(spec("echo", "a b c"), CALLER).start(reader)
        assert [await reader.read_to_end() for reader in others] == [None] * 3
        assert len(stuck.sequences) == WINDOW_EVENTS
        stuck.full = False
        call.resume()
        assert await stuck.read_to_end() is None
        assert len(stuck.sequences) > words
        assert are_whole([stuck])
        assert follows(member) == 0


@pytest.mark.usefixtures("metrics")
async def test_a_link_that_is_cut_goes_on_at_each_cursor(core: Core) -> None:
    """All streams of the core, over the next link; each going on is counted."""
    async with AsyncExitStack() as stack:
        relay = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, (member,) = await stack.enter_async_context(upstream(relay.address))
        readers, calls = await started(way, 30)
        for cut in range(1, 4):
            relay.cut()
            await asyncio.gather(*(reader.read_events(3) for reader in readers))
            assert RESUMES.points()[BY_EDGE,].value == cut * len(readers)
        assert follows(member) == len(readers)
        assert are_whole(readers)
        for call in calls:
            call.close(Leave.LEFT)


@pytest.mark.parametrize("how", ["not told", "told, unimplemented", "told, refused"])
async def test_a_core_without_a_link_is_read_by_calls(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """An older one, or one that refuses: the streams begin all the same, and know nothing of it."""
    caplog.set_level(logging.INFO, logger="edge")
    get_core = AgentService.get_core

    async def without(self: AgentService, *args: Any) -> pb.GetCoreResponse:
        response = await get_core(self, *args)
        response.core.link = how != "not told"
        return response

    async def refuse(self: Links, *args: Any) -> None:
        del self, args
        code, reason = ("PERMISSION_DENIED", "NO") if how == "told, refused" else ("UNIMPLEMENTED", "NONE")
        raise RefusalError(code, reason, "There is none.")

    monkeypatch.setattr(AgentService, "get_core", without)
    monkeypatch.setattr(Links, "serve", refuse)
    async with (
        running_core() as core,  # made after its methods were replaced
        upstream(f"127.0.0.1:{core.server.port}", waits_for_links=False) as (way, (member,)),
    ):
        _, calls = await started(way, 3)
        assert member.streams == 3
        assert follows(member) == 0
        assert not member.is_linked
        for call in calls:
            call.close(Leave.LEFT)
    lines = [record.getMessage() for record in caplog.records if "link" in record.getMessage()]
    assert len(lines) == (0 if how == "not told" else 1), lines


async def test_a_sink_that_fails_ends_its_own_stream_alone(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """The others on the link go on."""

    class Breaks(Reader):
        def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
            super().event(epoch, sequence, event)
            if sequence == 4:
                raise RuntimeError("it breaks")

    async with upstream(f"127.0.0.1:{core.server.port}") as (way, (member,)):
        readers, calls = await started(way, 3)
        breaks = Breaks()
        way.stream_run(spec(), CALLER).start(breaks)
        failure = await breaks.read_to_end()
        assert failure
        assert failure.code == "INTERNAL"
        assert breaks.sequences == [1, 2, 3, 4]
        await asyncio.gather(*(reader.read_events(3) for reader in readers))
        assert follows(member) == 3
        for call in calls:
            call.close(Leave.LEFT)
    assert f"reading run {breaks.run_id} failed" in caplog.text


@pytest.mark.parametrize("transport", ["link", "call"])
async def test_the_spans_of_a_stream_say_what_carries_it(core: Core, spans: Spans, transport: str) -> None:
    """The same names over both; that of the core is a child of the edge's."""
    async with upstream(f"127.0.0.1:{core.server.port}", transport=transport) as (way, _):
        reader = Reader()
        call = way.stream_run(spec("echo", "a"), CALLER)
        call.start(reader)
        assert await reader.read_to_end() is None
        await spans.all_ended()
    client, server = (
        next(span for span in spans.named("tokenwire.v1.AgentService/StreamRun") if span.kind.name == kind)
        for kind in ("CLIENT", "SERVER")
    )
    assert client.attributes
    assert client.attributes["tokenwire.transport"] == transport
    assert client.attributes["rpc.response.status_code"] == "OK"
    assert client.context
    assert call.span_context.span_id == client.context.span_id
    assert server.parent
    assert server.parent.span_id == client.context.span_id


@pytest.mark.parametrize("transport", ["link", "call"])
async def test_streams_of_a_core_whose_process_is_gone_end_at_once(
    core: Core, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Its memory was their log. That nobody listens at its address is proof, and one proof is for all."""
    proofs, refuses = [], core_module.Core.refuses_connections

    async def counted(self: core_module.Core, timeout_s: float) -> bool:
        proofs.append(self)
        return await refuses(self, timeout_s)

    monkeypatch.setattr(core_module.Core, "refuses_connections", counted)
    proxy = Proxy(f"127.0.0.1:{core.server.port}")
    async with upstream(proxy.address, transport=transport) as (way, (member,)):
        readers, _ = await started(way, 20)
        proxy.close()
        failures = [await reader.read_to_end() for reader in readers]
        assert {failure and (failure.code, failure.details["reason"]) for failure in failures} == {
            ("UNAVAILABLE", "CORE_LOST")
        }
        assert member.streams == 0
    assert len(proofs) < len(readers)
