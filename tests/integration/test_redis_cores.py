"""Two real cores on one real Redis: any serves any run, and a lost one's runs get their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from agent_core.agents import RunRequest
from agent_core.log.redis.lease import HELD_S
from tests.support.agents import called
from tests.support.core import Core, events_of, refusal_of, rest_of, running_core
from tests.support.redis_server import RedisServer, shared_redis
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL, ON_DISCONNECT_CONTINUE, RUN_STATE_ENDED, RunSpec

pytestmark = pytest.mark.needs("redis")

WITHIN_S = 20.0


def settings(server: RedisServer, prefix: str, **more: Any) -> dict[str, Any]:
    return {"store": server.url, "redis_prefix": prefix, **more}


@pytest.fixture
async def cores() -> AsyncIterator[tuple[Core, Core]]:
    """Two cores that share their runs."""
    given = settings(shared_redis(), uuid4().hex, disconnect_grace_s=0.3)
    async with running_core(**given) as one, running_core(**given) as other:
        yield one, other


def texts(events: list[Event]) -> str:
    return "".join(event.text_delta.content for event in events)


def is_whole(events: list[Event]) -> bool:
    """Return whether these are exactly 1 to n, with one terminal event, which is the last."""
    terminal = [event.WhichOneof("payload") in {"done", "error"} for event in events]
    numbers = [event.sequence for event in events]
    return numbers == list(range(1, len(events) + 1)) and terminal == [False] * (len(events) - 1) + [True]


async def until_ended(core: Core, run_id: str) -> Any:
    async with asyncio.timeout(WITHIN_S):
        while (run := await core.run(run_id)).state != RUN_STATE_ENDED:
            await asyncio.sleep(0.02)
    return run


async def test_a_run_is_followed_at_any_core(cores: tuple[Core, Core]) -> None:
    """While it goes on and after its end; each event once."""
    one, other = cores
    run_id = await one.start("echo", "a b c d e f")
    followed = await asyncio.gather(one.follow(run_id), other.follow(run_id))
    whole, there = (events_of(responses) for responses in followed)
    rest = events_of(await other.follow(run_id, 3))
    assert is_whole(whole)
    assert is_whole(there)
    assert [event.sequence for event in rest] == [event.sequence for event in whole][3:]
    assert texts(there) == texts(whole)
    assert events_of(await other.follow(run_id)) == events_of(await one.follow(run_id))


async def test_stop_works_through_any_core(cores: tuple[Core, Core]) -> None:
    """The text so far stands, and the answer says what came of it."""
    one, other = cores
    run_id = await one.start("slow")
    call = other.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
    while not any(event.HasField("text_delta") for event in (await call.read()).events):
        pass
    cancelled = (await other.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))).run
    assert cancelled.state == RUN_STATE_ENDED
    assert cancelled.outcome.reason == "cancelled"
    last = events_of(await rest_of(call))[-1]
    assert last.done.final_message
    again = (await other.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))).run
    assert again == cancelled


async def test_a_follower_at_another_core_keeps_a_run_alive_and_may_end_it(cores: tuple[Core, Core]) -> None:
    """The core that writes it knows who follows elsewhere, and how he left."""
    one, other = cores
    kept = await one.start("slow")
    call = other.stub.FollowRun(pb.FollowRunRequest(run_id=kept))
    await call.read()
    async with asyncio.timeout(WITHIN_S):
        while not one.server.manager.live(kept).followers.elsewhere:
            await asyncio.sleep(0.01)
    await asyncio.sleep(1.0)  # three times the grace
    assert (await one.run(kept)).state != RUN_STATE_ENDED
    call.cancel()
    assert (await until_ended(other, kept)).outcome.reason == "cancelled"

    left = await one.start("slow", on_disconnect=ON_DISCONNECT_CANCEL)
    call = other.stub.FollowRun(pb.FollowRunRequest(run_id=left, relay=True))
    await call.read()
    cause = pb.CANCEL_CAUSE_FOLLOWER_LEFT
    await other.stub.CancelRun(pb.CancelRunRequest(run_id=left, cause=cause))
    call.cancel()
    assert (await until_ended(other, left)).outcome.reason == "cancelled"
    assert other.server.manager.followers.remote.runs == 0


async def test_one_who_follows_at_a_core_that_goes_down_has_not_left(cores: tuple[Core, Core]) -> None:
    """His run is another core's, which cancels it when he leaves: it goes on, for he comes back."""
    one, other = cores
    run_id = await one.start("slow", on_disconnect=ON_DISCONNECT_CANCEL)
    call = other.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
    await call.read()
    run = one.server.manager.live(run_id)
    assert run is not None
    async with asyncio.timeout(WITHIN_S):
        while not run.followers.elsewhere:
            await asyncio.sleep(0.01)
        await other.server.manager.drain(0.0, asyncio.Event())
        call.cancel()
        while run.followers.elsewhere:
            await asyncio.sleep(0.01)
    assert not run.stopping, "only its grace time began"
    again = one.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
    await again.read()
    again.cancel()
    assert (await until_ended(one, run_id)).outcome.reason == "cancelled"


async def test_a_request_id_names_one_run_at_all_cores(cores: tuple[Core, Core]) -> None:
    """A start can be repeated at another core; a session's runs are told there; only one goes on."""
    one, other = cores
    request = pb.StartRunRequest(run=RunSpec(agent="silent", message="hi", request_id="r", session_id="s"))
    first = (await one.stub.StartRun(request)).run
    assert (await other.stub.StartRun(request)).run.run_id == first.run_id
    request.run.request_id = ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await other.stub.StartRun(request)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.info.reason) == ("ABORTED", "SESSION_BUSY")
    assert refusal.info.metadata["run_id"] == first.run_id
    listed = await other.stub.ListRuns(pb.ListRunsRequest(session_id="s"))
    assert [run.run_id for run in listed.runs] == [first.run_id]


async def test_what_a_session_said_is_known_at_all_cores(cores: tuple[Core, Core]) -> None:
    """The next question's agent reads it, wherever it runs."""
    one, other = cores
    await one.events("echo", "first words", session_id="s")
    events = await other.events("recalls", "and now?", session_id="s")
    assert texts(events) == "user: first words\nassistant: first words \n"


async def test_a_core_that_lost_its_lease_and_its_runs_stops_their_agents(cores: tuple[Core, Core]) -> None:
    """Another core has closed them: its followers get that end, once, and no event behind it."""
    one, other = cores
    run_id = await one.start("slow")
    call = one.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
    first = await call.read()
    run = one.server.manager.live(run_id)
    assert run is not None
    name = one.server._peers.name
    await one.server._peers._client.delete(one.server._peers._keys.lease(name))
    other.server.manager.peer_listener.on_peer_lost(name)
    events = events_of([first, *await rest_of(call)])
    assert is_whole(events)
    assert (events[-1].epoch, events[-1].error.code) == (2, "UNAVAILABLE")
    assert events[-1].error.details["reason"] == "PRODUCER_LOST"
    async with asyncio.timeout(WITHIN_S):
        await run.ended.wait()
    assert one.server.manager.live(run_id) is None
    assert events_of(await other.follow(run_id)) == events_of(await one.follow(run_id))


async def test_a_wiped_redis_gets_its_live_runs_back() -> None:
    """With all their events; those who follow notice nothing, at their core and elsewhere."""
    async with AsyncExitStack() as stack:
        server = shared_redis()
        prefix = uuid4().hex
        one = await stack.enter_async_context(running_core(**settings(server, prefix)))
        other = await stack.enter_async_context(running_core(**settings(server, prefix)))
        run_id = await one.start("slow")
        calls = [core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id)) for core in (one, other)]
        begun = [[await call.read()] for call in calls]
        keys = server.client.keys(f"{prefix}:*")
        assert keys
        server.client.delete(*keys)
        async with asyncio.timeout(WITHIN_S):
            while not server.client.exists(f"{prefix}:{{{run_id}}}:meta"):
                await asyncio.sleep(0.02)
        await one.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        for responses, call in zip(begun, calls, strict=True):
            events = events_of([*responses, *await rest_of(call)])
            assert is_whole(events)
            assert events[-1].done.final_message == texts(events)
        assert is_whole(events_of(await other.follow(run_id)))


async def test_while_redis_is_away_followers_are_told_and_the_run_goes_on(redis_server: RedisServer) -> None:
    """Then all comes that was said in the meantime."""
    async with running_core(**settings(redis_server, "t")) as core:
        call = core.stub.StreamRun(pb.StreamRunRequest(run=RunSpec(agent="slow", message="hi")))
        responses = [await call.read()]
        with redis_server.stalled():
            while responses[-1].control.WhichOneof("control") != "degraded":
                responses.append(await call.read())
        run_id = responses[0].run_id
        count = len(events_of(responses))
        while len(events_of(responses)) < count + 10:
            responses.append(await call.read())
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        assert is_whole(events_of([*responses, *await rest_of(call)]))


async def tool_calls(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[DeltaToolCalls]:
    """Want one more call of the tool, as a model that never has enough."""
    await asyncio.sleep(0.15)
    yield {0: DeltaToolCall("act", "{}", tool_call_id=uuid4().hex)}


pydantic = Agent(FunctionModel(stream_function=tool_calls), deps_type=RunRequest)


@pydantic.tool
def act(context: RunContext[RunRequest]) -> str:
    """Act."""
    called.setdefault(context.deps.run_id, []).append(time.monotonic())
    return "done"


@pytest.mark.parametrize(
    "agent", ["tests.support.agents:tools", "tests.integration.test_redis_cores:pydantic"]
)
async def test_no_tool_is_called_while_the_lease_may_be_lost(redis_server: RedisServer, agent: str) -> None:
    """Another core may have closed the run by then: it waits, and goes on when the run is still its own."""
    async with running_core(**settings(redis_server, "t", agent=f"a={agent}")) as core:
        run_id = await core.start("a", on_disconnect=ON_DISCONNECT_CONTINUE)
        calls = called.setdefault(run_id, [])
        async with asyncio.timeout(WITHIN_S):
            while not calls:
                await asyncio.sleep(0.01)
        with redis_server.stalled():
            # Renewed before this moment, the lease is held for less than HELD_S from here on.
            until = time.monotonic() + HELD_S
            await asyncio.sleep(HELD_S + 1.5)
            before = len(calls)
            assert calls[-1] < until + 0.5
            await asyncio.sleep(1.0)
            assert len(calls) == before
        async with asyncio.timeout(WITHIN_S):
            while len(calls) == before:
                await asyncio.sleep(0.01)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        events = events_of(await core.follow(run_id))
        assert is_whole(events)
        assert sum(event.HasField("tool_start") for event in events) in {len(calls), len(calls) + 1}


async def test_the_lease_counts_as_held_only_once_the_runs_are_known(redis_server: RedisServer) -> None:
    """A log that is away again while they are looked up does not make them this core's."""
    async with running_core(**settings(redis_server, "t")) as core:
        await core.start("silent", on_disconnect=ON_DISCONNECT_CONTINUE)
        peers = core.server._peers
        await peers.wait_for_lease()
        with redis_server.stalled():
            peers._verify()
            held = asyncio.create_task(peers.wait_for_lease())
            await asyncio.sleep(3.0)  # longer than Redis may take to answer
            assert not held.done()
        async with asyncio.timeout(WITHIN_S):
            await held


async def test_a_core_starts_only_on_a_redis_that_keeps_what_it_has(redis_server: RedisServer) -> None:
    """And says why not, without the password."""
    redis_server.client.config_set("maxmemory", "100mb")
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(Exception, match="maxmemory-policy is allkeys-lru"):
        async with running_core(**settings(redis_server, "t")):
            pass
    redis_server.stop()
    store = redis_server.url.replace("//", "//:secret@")
    with pytest.raises(Exception, match="Redis can't be used") as refused:
        async with running_core(store=store):
            pass
    assert "secret" not in str(refused.value)
    redis_server.start()
