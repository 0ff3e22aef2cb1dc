"""Clients that go away: what becomes of their runs."""

import asyncio
import time
from typing import Any

import pytest

from agent_core.runs import presence
from tests.support.core import Core, events_of, running_core, stream_request
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import (
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_CONTINUE,
    ON_DISCONNECT_GRACE,
    RUN_STATE_ENDED,
    RUN_STATE_RUNNING,
)

GRACE_S = 0.6
LONG_S = 30.0


async def left(core: Core, policy: int, *, relay: bool = False, agent: str = "slow") -> str:
    """Start a run, read its beginning, and go."""
    call = core.stub.StreamRun(stream_request(agent, on_disconnect=policy, relay=relay))
    run_id = (await call.read()).run_id
    call.cancel()
    return run_id


async def ends(core: Core, run_id: str, within_s: float = 10) -> float:
    """Return how long it takes until a run has ended."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while (await core.run(run_id)).state != RUN_STATE_ENDED:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def goes_on(core: Core, run_id: str, for_s: float = 0.4) -> None:
    """Fail when a run is stopped within some time."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert (await core.run(run_id)).state == RUN_STATE_RUNNING
        await asyncio.sleep(0.02)


def word(run_id: str) -> pb.CancelRunRequest:
    return pb.CancelRunRequest(run_id=run_id, cause=pb.CANCEL_CAUSE_FOLLOWER_LEFT)


@pytest.mark.parametrize("agent", ["slow", "silent"])
async def test_a_vanished_client_cancels_its_run_at_once(agent: str) -> None:
    """StreamRun's default, in the middle of the answer and before the first token."""
    async with running_core(disconnect_grace_s=LONG_S) as core:
        run_id = await left(core, 0, agent=agent)
        assert await ends(core, run_id) < 3
        run = await core.run(run_id)
        assert (run.outcome.event, run.outcome.reason) == ("done", "cancelled")
        assert run.on_disconnect == ON_DISCONNECT_CANCEL


async def test_grace_waits_and_then_cancels() -> None:
    """Nobody came back."""
    async with running_core(disconnect_grace_s=GRACE_S) as core:
        run_id = await left(core, ON_DISCONNECT_GRACE)
        assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


async def test_a_new_follower_within_the_grace_time_saves_the_run() -> None:
    """And when that one leaves, the time begins anew."""
    async with running_core(disconnect_grace_s=GRACE_S) as core:
        run_id = await left(core, ON_DISCONNECT_GRACE)
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        await call.read()
        await goes_on(core, run_id, GRACE_S * 2)
        call.cancel()
        assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


async def test_continue_lets_a_run_come_to_its_own_end() -> None:
    """Nobody watched it."""
    async with running_core(disconnect_grace_s=0.0) as core:
        run_id = await left(core, ON_DISCONNECT_CONTINUE, agent="scripted")
        await ends(core, run_id)
        assert (await core.run(run_id)).outcome.reason == "stop"


async def test_the_policy_waits_for_the_last_follower() -> None:
    """Two follow; one leaves; nothing happens."""
    async with running_core(disconnect_grace_s=LONG_S) as core:
        first = core.stub.StreamRun(stream_request("slow"))
        run_id = (await first.read()).run_id
        second = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        await second.read()
        first.cancel()
        await goes_on(core, run_id)
        second.cancel()
        assert await ends(core, run_id) < 3


async def test_a_run_that_nobody_ever_followed_counts_as_grace() -> None:
    """Even where the policy is to cancel."""
    async with running_core(disconnect_grace_s=GRACE_S) as core:
        run_id = await core.start("slow", on_disconnect=ON_DISCONNECT_CANCEL)
        assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


async def test_the_end_of_a_relays_call_is_a_broken_link() -> None:
    """The browser behind it may still be there."""
    async with running_core(disconnect_grace_s=GRACE_S) as core:
        run_id = await left(core, ON_DISCONNECT_CANCEL, relay=True)
        assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


@pytest.mark.parametrize("word_first", [True, False])
async def test_word_that_the_one_behind_a_relay_has_left_brings_the_policy(word_first: bool) -> None:
    """Before the call's end or after it."""
    async with running_core(disconnect_grace_s=LONG_S) as core:
        call = core.stub.StreamRun(stream_request("slow", relay=True))
        run_id = (await call.read()).run_id
        steps: list[Any] = [lambda: core.stub.CancelRun(word(run_id)), lambda: calls_end(core, call)]
        await (steps[0] if word_first else steps[1])()
        await goes_on(core, run_id, 0.2)
        await (steps[1] if word_first else steps[0])()
        assert await ends(core, run_id) < 3


async def calls_end(core: Core, call: Any) -> None:
    call.cancel()
    async with asyncio.timeout(5):
        while core.server.manager.followers:
            await asyncio.sleep(0.01)


async def test_a_new_follower_is_not_taken_for_the_one_that_left() -> None:
    """The word before it came does not count against it."""
    async with running_core(disconnect_grace_s=LONG_S) as core:
        run_id = await core.start("slow", on_disconnect=ON_DISCONNECT_GRACE)
        await core.stub.CancelRun(word(run_id))
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id, relay=True))
        await call.read()
        call.cancel()
        await goes_on(core, run_id)


async def test_a_client_that_leaves_while_the_run_starts_leaves_no_call_behind() -> None:
    """Wherever the cancellation meets the handler."""
    async with running_core(disconnect_grace_s=0.0) as core:
        for turns in range(40):
            call = core.stub.StreamRun(stream_request("slow"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
        async with asyncio.timeout(10):
            while core.server.manager.registry or core.server.manager.followers:
                await asyncio.sleep(0.01)


async def test_many_come_and_go_and_the_stream_stays_exact() -> None:
    """A follower's leaving disturbs nobody."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("echo", "x " * 2000, on_disconnect=ON_DISCONNECT_CONTINUE))
        run_id = (await call.read()).run_id
        for _ in range(10):
            follower = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
            await follower.read()
            follower.cancel()
        call.cancel()
        events = events_of(await core.follow(run_id))
        assert [event.sequence for event in events] == list(range(1, 2004))


@pytest.mark.parametrize("relay", [True, False])
async def test_without_grace_time_a_run_waits_for_its_first_follower(relay: bool) -> None:
    """Of one call, between its start and its follow; of two, until the second one comes."""
    async with running_core(disconnect_grace_s=0.0) as core:
        call = core.stub.StreamRun(stream_request("slow", on_disconnect=ON_DISCONNECT_GRACE, relay=relay))
        runs = [(await call.read()).run_id, await core.start("slow")]
        follower = core.stub.FollowRun(pb.FollowRunRequest(run_id=runs[1], relay=relay))
        await follower.read()
        for run_id in runs:
            await goes_on(core, run_id, 0.2)


async def test_without_grace_time_a_broken_relay_has_a_moment_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not waited for for ever; one who says that it has left is not waited for at all."""
    request = stream_request("slow", on_disconnect=ON_DISCONNECT_GRACE, relay=True)
    async with running_core(disconnect_grace_s=0.0) as core:
        monkeypatch.setattr(presence, "RETURN_S", LONG_S)
        runs = [await broken(core, request) for _ in range(2)]
        back = core.stub.FollowRun(pb.FollowRunRequest(run_id=runs[0], relay=True))
        await back.read()
        await core.stub.CancelRun(word(runs[1]))
        assert await ends(core, runs[1]) < 5
        await goes_on(core, runs[0], 0.2)
        monkeypatch.setattr(presence, "RETURN_S", GRACE_S)
        assert await ends(core, await broken(core, request)) > GRACE_S * 0.5


async def broken(core: Core, request: pb.StreamRunRequest) -> str:
    """Start a run, read its beginning, and have its call break."""
    call = core.stub.StreamRun(request)
    run_id: str = (await call.read()).run_id
    following = len(core.server.manager.followers)
    call.cancel()
    async with asyncio.timeout(5):
        while len(core.server.manager.followers) >= following:
            await asyncio.sleep(0.01)
    return run_id
