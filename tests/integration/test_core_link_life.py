"""The life of a link: its hello, its heartbeats, its end, and what is left of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from agent_core.rpc.link import links as link_links
from agent_core.rpc.link import session as link_session
from agent_core.rpc.link.follow import LinkFollow
from agent_core.runs.follower import Follower
from tests.integration.test_core_link import told_by_call
from tests.integration.test_core_stream import assert_dense
from tests.support.core import Core, running_core
from tests.support.link_client import WITHIN_S, LinkClient, linked, opened
from tokenwire.v1.link_pb2 import (
    UNFOLLOW_REASON_DRAIN,
    UNFOLLOW_REASON_LEFT,
    LinkCaller,
    LinkHeartbeat,
    LinkHello,
    LinkRequest,
)
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED


async def no_hello(link: LinkClient) -> None:
    await link.send(LinkRequest(heartbeat=LinkHeartbeat()))


async def nothing_at_all(link: LinkClient) -> None:
    await link.call.done_writing()


@pytest.mark.parametrize("first", [no_hello, nothing_at_all])
async def test_what_is_no_hello_ends_a_link(first: Callable[[LinkClient], Awaitable[None]]) -> None:
    """The first message says who is there."""
    async with running_core() as core, opened(core.stub.Link()) as link:
        await first(link)
        assert await link.refused() == ("INVALID_ARGUMENT", "LINK_HELLO_MISSING")


async def test_a_hello_must_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who opens a link and says nothing holds a place."""
    monkeypatch.setattr(link_session, "REQUEST_S", 0.05)
    async with running_core() as core, opened(core.stub.Link()) as link:
        assert await link.refused() == ("DEADLINE_EXCEEDED", "REQUEST_TIMEOUT")


async def test_what_can_not_be_decoded_ends_a_link() -> None:
    """After it nothing could be understood for certain."""
    async with running_core() as core:
        raw: Any = core.channel.stream_stream("/tokenwire.v1.AgentService/Link")
        hello: Message = LinkRequest(hello=LinkHello())
        call = raw(iter([hello.SerializeToString(), b"\xff"]))
        error = await told_by_call(call)
        assert error.details["reason"] == "REQUEST_UNREADABLE"


async def test_a_silent_edge_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends heartbeats is not; both are sent some."""
    monkeypatch.setattr(link_session, "HEARTBEAT_S", 0.04)
    async with running_core() as core, linked(core) as alive, linked(core) as silent:
        await silent.start(1, "slow")
        over = asyncio.create_task(silent.refused())
        while not over.done():
            await alive.send(LinkRequest(heartbeat=LinkHeartbeat()))
            await asyncio.sleep(0.02)
        assert await over == ("UNAVAILABLE", "LINK_SILENT")
        assert not alive.call.done()
        assert len(alive.responses) > 2
        assert not any(response.batches for response in alive.responses)


async def test_a_link_that_its_edge_ends_ends_well() -> None:
    """Half-closed, it is over; its follows count as ended by an edge that goes down."""
    async with running_core(disconnect_grace_s=0.2) as core, linked(core) as link:
        await link.start(1, "slow")
        await link.until(lambda: bool(link.events(1)))
        await link.call.done_writing()
        assert await link.over() is grpc.StatusCode.OK
        async with asyncio.timeout(WITHIN_S):
            while (await core.run(link.run_id(1))).state != RUN_STATE_ENDED:
                await asyncio.sleep(0.02)


async def test_links_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One beyond is refused, and has its place when another one is over."""
    monkeypatch.setattr(link_links, "MAX_LINKS_PER_HOST", 1)
    async with running_core() as core:
        async with linked(core) as link:
            async with opened(core.stub.Link()) as other:
                assert await other.refused() == ("RESOURCE_EXHAUSTED", "LINKS_LIMIT")
            await link.start(1, "echo")
            await link.ended(1)
        async with asyncio.timeout(WITHIN_S):
            while core.server._links._slots.in_use:
                await asyncio.sleep(0.01)
        async with linked(core) as link:
            pass


async def test_a_core_that_goes_down_tells_and_ends_its_links() -> None:
    """Each follow has its control, each link its word; runs come to their ends, then the links to theirs."""
    async with running_core(drain_s=20.0) as core, linked(core) as link, linked(core) as idle:
        await link.start(1, "scripted")
        await link.until(lambda: bool(link.events(1)))
        stopping = asyncio.create_task(core.server.stop())
        await link.until(lambda: "draining" in link.controls(1))
        await link.start(2, "scripted")
        error = (await link.ended(2)).end.error
        assert error.details["reason"] == "CORE_DRAINING"
        await link.ended(1)
        assert_dense(link.events(1))
        assert await link.over() is await idle.over() is grpc.StatusCode.OK
        await stopping
        for told_link in (link, idle):
            assert [response.draining.retry_ms for response in told_link.responses].count(1000) == 1


async def test_a_link_that_is_opened_while_the_core_goes_down_is_told() -> None:
    """Runs may still be followed there."""
    async with running_core(drain_s=20.0) as core:
        run_id = await core.start("slow")
        hurry = asyncio.Event()
        stopping = asyncio.create_task(core.server.stop(hurry))
        await asyncio.sleep(0)
        async with linked(core) as link:
            await link.follow(1, run_id)
            await link.until(lambda: any(response.HasField("draining") for response in link.responses))
            await link.until(lambda: "draining" in link.controls(1) and bool(link.events(1)))
            hurry.set()
            assert (await link.ended(1)).events[-1].error.code == "UNAVAILABLE"
        await stopping


@pytest.mark.parametrize("turns", range(6))
async def test_what_a_link_carried_is_closed_wherever_its_call_is_cancelled(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken call is told of twice: the requests end, and some turns later the handler is cancelled."""
    serve, read = link_session.LinkSession.serve, link_session.LinkSession._read
    handlers: list[asyncio.Task[Any] | None] = []

    async def served(session: link_session.LinkSession, requests: Any) -> None:
        handlers.append(asyncio.current_task())
        await serve(session, requests)

    async def then_cancelled() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        assert handlers[0] is not None
        handlers[0].cancel()

    async def to_its_end(session: link_session.LinkSession, requests: Any) -> None:
        await read(session, requests)
        cancelling.append(asyncio.create_task(then_cancelled()))

    cancelling: list[asyncio.Task[None]] = []
    monkeypatch.setattr(link_session.LinkSession, "serve", served)
    monkeypatch.setattr(link_session.LinkSession, "_read", to_its_end)
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow")
        await link.until(lambda: bool(link.events(1)))
        await link.call.done_writing()
        async with asyncio.timeout(WITHIN_S):
            while core.server.manager.followers or core.server.manager.limiter.follows.in_use:
                await asyncio.sleep(0.01)
        assert cancelling


async def test_nothing_is_left_of_links_that_broke_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it meets what was under way: no follower, no place, no task, no line in the log."""
    async with running_core(disconnect_grace_s=0.0) as core:
        for pause in range(12):
            async with linked(core) as link:
                for follow_id in range(20):
                    await link.start(follow_id, "slow")
                    await link.follow(100 + follow_id, "nonsense")
                for _ in range(pause * 3):
                    await asyncio.sleep(0)
        await nothing_left(core)
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


async def test_a_follow_that_is_over_is_freed_without_the_garbage_collector() -> None:
    """However it ends: a cycle of each would wait for a collection of all that there is."""
    async with running_core() as core, linked(core) as link:
        gc.collect()
        gc.disable()
        try:
            for follow_id in range(1, 6):
                await link.start(follow_id, "echo")
                await link.ended(follow_id)
            for follow_id in range(11, 16):
                await link.start(follow_id, "slow", caller=LinkCaller(deadline=Duration(seconds=60)))
                await link.until(lambda follow_id=follow_id: bool(link.events(follow_id)))
                await link.follow(10 + follow_id, link.run_id(follow_id))
                await link.until(lambda follow_id=follow_id: bool(link.events(10 + follow_id)))
                await link.unfollow(10 + follow_id, UNFOLLOW_REASON_DRAIN)
                await link.unfollow(follow_id, UNFOLLOW_REASON_LEFT)
            await link.follow(30, "nonsense")
            await link.ended(30)
            await link.start(31, "echo")
            await link.ended(31)
            kept = [one for one in gc.get_objects() if isinstance(one, LinkFollow | Follower)]
            assert kept == []
        finally:
            gc.enable()


async def nothing_left(core: Core) -> None:
    """Return when a core has neither runs nor follows any more."""
    manager, limiter = core.server.manager, core.server.manager.limiter
    async with asyncio.timeout(WITHIN_S):
        while (
            manager.registry
            or manager.followers
            or limiter.follows.in_use
            or limiter.runs.in_use
            or core.server._links._parts.tasks
            or core.server._links._parts.closing
            or core.server._links._slots.in_use
        ):
            await asyncio.sleep(0.01)
