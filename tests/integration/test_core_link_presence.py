"""Those behind an edge who go away: what becomes of the runs that they followed over a link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from agent_core.agents.catalogue import NamedAgent
from agent_core.runs import presence
from tests.integration.test_core_link_life import nothing_left
from tests.integration.test_core_presence import ends, goes_on, word
from tests.support.core import Core, running_core
from tests.support.link_client import WITHIN_S, LinkClient, linked
from tests.support.redis_server import shared_redis
from tokenwire.v1.link_pb2 import (
    UNFOLLOW_REASON_DRAIN,
    UNFOLLOW_REASON_EVICTED,
    UNFOLLOW_REASON_LEFT,
    UNFOLLOW_REASON_UNSPECIFIED,
)
from tokenwire.v1.run_pb2 import (
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_CONTINUE,
    ON_DISCONNECT_GRACE,
    RUN_STATE_ENDED,
    RUN_STATE_RUNNING,
)

GRACE_S = 0.4
LONG_S = 30.0


async def begun(link: LinkClient, follow_id: int, agent: str = "slow", **spec: Any) -> str:
    """Start a run over a link, and return its id when its first event has come."""
    await link.start(follow_id, agent, **spec)
    await link.until(lambda: bool(link.events(follow_id)))
    return link.run_id(follow_id)


@pytest.mark.parametrize("agent", ["slow", "silent"])
async def test_one_who_leaves_cancels_the_run_at_once(agent: str) -> None:
    """A start's default, as StreamRun's; nothing more is sent for the follow."""
    async with running_core(disconnect_grace_s=LONG_S) as core, linked(core) as link:
        run_id = await begun(link, 1, agent)
        await link.unfollow(1, UNFOLLOW_REASON_LEFT)
        assert await ends(core, run_id) < 5
        run = await core.run(run_id)
        assert (run.outcome.reason, run.on_disconnect) == ("cancelled", ON_DISCONNECT_CANCEL)
        assert not link.has_ended(1)


@pytest.mark.parametrize(
    "reason", [UNFOLLOW_REASON_UNSPECIFIED, UNFOLLOW_REASON_EVICTED, UNFOLLOW_REASON_DRAIN]
)
async def test_one_whom_the_edge_ends_has_not_left(reason: Any) -> None:
    """It counts as grace, also where the policy is to cancel."""
    async with running_core(disconnect_grace_s=GRACE_S) as core, linked(core) as link:
        run_id = await begun(link, 1, on_disconnect=ON_DISCONNECT_CANCEL)
        await link.unfollow(1, reason)
        assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


async def test_a_broken_link_is_grace_for_all_that_it_carried() -> None:
    """Those behind it come back by another link, each to its run; the one who does not is missed."""
    async with running_core(disconnect_grace_s=1.5) as core:
        async with linked(core) as link:
            runs = [await begun(link, follow_id) for follow_id in (1, 2, 3)]
        async with linked(core) as link:
            for follow_id, run_id in enumerate(runs[:2]):
                await link.follow(follow_id, run_id)
                await link.until(lambda follow_id=follow_id: bool(link.events(follow_id)))
            await ends(core, runs[2])
            await goes_on(core, runs[0], 0.2)
            # The one who did not come back is not taken for one who comes and leaves now.
            await link.unfollow(0, UNFOLLOW_REASON_LEFT)
            assert await ends(core, runs[0]) < 5
            await goes_on(core, runs[1], 0.2)


async def test_without_grace_time_a_broken_link_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a run stopped between its start and its follow; one whose follower has left is, at once."""
    monkeypatch.setattr(presence, "RETURN_S", LONG_S)
    async with running_core(disconnect_grace_s=0.0) as core:
        async with linked(core) as link:
            runs = [await begun(link, each, on_disconnect=ON_DISCONNECT_GRACE) for each in range(2)]
            for run_id in runs:
                await goes_on(core, run_id, 0.1)
            await link.unfollow(0, UNFOLLOW_REASON_LEFT)
            assert await ends(core, runs[0]) < 5
        async with linked(core) as link:
            await link.follow(1, runs[1])
            await link.until(lambda: bool(link.events(1)))
            await goes_on(core, runs[1], 0.2)


@pytest.mark.parametrize("policy", [ON_DISCONNECT_GRACE, ON_DISCONNECT_CONTINUE])
async def test_the_policy_of_the_run_holds_for_one_who_leaves(policy: Any) -> None:
    """Grace waits for the grace time, continue for nothing."""
    async with running_core(disconnect_grace_s=GRACE_S) as core, linked(core) as link:
        run_id = await begun(link, 1, on_disconnect=policy)
        await link.unfollow(1, UNFOLLOW_REASON_LEFT)
        if policy == ON_DISCONNECT_CONTINUE:
            await goes_on(core, run_id, GRACE_S * 2)
        else:
            assert GRACE_S * 0.5 < await ends(core, run_id) < GRACE_S + 5


async def test_the_last_follower_counts_whatever_door_it_came_through() -> None:
    """Two links and a call follow; the run ends when the last one leaves."""
    async with running_core(disconnect_grace_s=LONG_S) as core, linked(core) as one, linked(core) as other:
        run_id = await begun(one, 1)
        await other.follow(1, run_id)
        await other.until(lambda: bool(other.events(1)))
        await one.unfollow(1, UNFOLLOW_REASON_LEFT)
        await goes_on(core, run_id, 0.2)
        await other.unfollow(1, UNFOLLOW_REASON_LEFT)
        assert await ends(core, run_id) < 5


async def test_one_who_follows_before_the_last_one_leaves_keeps_the_run() -> None:
    """However close they come, on one link: requests are taken in order."""
    async with running_core(disconnect_grace_s=LONG_S) as core, linked(core) as link:
        run_id = await begun(link, 0)
        for follow_id in range(1, 30):
            await link.follow(follow_id, run_id)
            await link.unfollow(follow_id - 1, UNFOLLOW_REASON_LEFT)
        await link.until(lambda: len(link.events(29)) > 3)
        await goes_on(core, run_id, 0.1)


async def test_one_who_follows_as_the_last_one_leaves_has_the_run_or_its_end() -> None:
    """On two links either may be first; the one who comes is never left waiting."""
    async with running_core(disconnect_grace_s=LONG_S) as core, linked(core) as one, linked(core) as other:
        for follow_id in range(20):
            run_id = await begun(one, follow_id)
            await asyncio.gather(
                one.unfollow(follow_id, UNFOLLOW_REASON_LEFT), other.follow(follow_id, run_id)
            )
            await other.until(
                lambda each=follow_id: other.has_ended(each) or len(other.events(each)) > 4  # it goes on
            )
            await other.unfollow(follow_id, UNFOLLOW_REASON_LEFT)
            assert await ends(core, run_id) < 5


async def test_one_who_left_is_not_taken_for_another_whose_link_broke() -> None:
    """Its word and its end come in one step, so there is nothing to pair."""
    async with running_core(disconnect_grace_s=LONG_S) as core, linked(core) as stays:
        async with linked(core) as breaks:
            run_id = await begun(stays, 1)
            await breaks.follow(1, run_id)
            await breaks.until(lambda: bool(breaks.events(1)))
        await until_followers(core, 1)
        await stays.unfollow(1, UNFOLLOW_REASON_LEFT)
        assert await ends(core, run_id) < 5


async def test_word_of_one_whose_link_broke_may_come_by_a_call() -> None:
    """The edge has no follow then that it could end."""
    async with running_core(disconnect_grace_s=LONG_S) as core:
        async with linked(core) as link:
            run_id = await begun(link, 1)
        await until_followers(core, 0)
        await core.stub.CancelRun(word(run_id))
        assert await ends(core, run_id) < 5


async def until_followers(core: Core, count: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while len(core.server.manager.followers) != count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("policy", "stays"), [(ON_DISCONNECT_CANCEL, False), (ON_DISCONNECT_GRACE, True)])
@pytest.mark.parametrize("breaks", [False, True])
async def test_one_who_leaves_before_the_run_has_begun_leaves_it_then(
    policy: Any, stays: bool, breaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start goes on, also where the link breaks meanwhile, and its run counts as followed and left."""
    loaded = asyncio.Event()
    async with running_core(disconnect_grace_s=LONG_S) as core:
        get = core.server.agents.get

        async def slowly(name: str) -> NamedAgent:
            await loaded.wait()
            return await get(name)

        monkeypatch.setattr(core.server.agents, "get", slowly)
        async with linked(core) as link:
            await link.start(1, "slow", on_disconnect=policy, session_id="s")
            await link.start(2, "nobody")
            await link.unfollow(1, UNFOLLOW_REASON_LEFT)
            # The other one's end says that the unfollow was read.
            await link.unfollow(2, UNFOLLOW_REASON_LEFT)
            await link.start(2, "nobody", message="")
            await link.ended(2)
            if not breaks:
                loaded.set()
                state = await state_of_session(core)
        if breaks:
            loaded.set()
            state = await state_of_session(core)
        assert state == (RUN_STATE_RUNNING if stays else RUN_STATE_ENDED)


async def test_a_start_that_was_left_gives_its_place_back_when_the_core_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is still under way then, and its link may be over."""
    async with running_core() as core:
        monkeypatch.setattr(core.server.agents, "get", lambda _: asyncio.Event().wait())
        async with linked(core) as link:
            await link.start(1, "slow")
            await link.unfollow(1, UNFOLLOW_REASON_LEFT)
            await link.follow(2, "nonsense")
            await link.ended(2)
        assert core.server.manager.limiter.follows.in_use == 1
        await core.server.stop()
        assert core.server.manager.limiter.follows.in_use == 0


async def state_of_session(core: Core) -> int:
    """Return the state of the session's only run, once it is there and nobody follows it any more."""
    manager = core.server.manager
    async with asyncio.timeout(WITHIN_S):
        while not (infos := await manager.runs("anonymous", "s", 2, None)) or core.server._links._parts.tasks:
            await asyncio.sleep(0.01)
        (info,) = infos
        run_id = info.record.run_id
        while (await core.run(run_id)).state not in {RUN_STATE_RUNNING, RUN_STATE_ENDED}:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    return (await core.run(run_id)).state


async def test_those_who_leave_while_their_runs_start_leave_nothing_behind() -> None:
    """Wherever the unfollow meets the start."""
    async with running_core(disconnect_grace_s=0.0) as core:
        async with linked(core) as link:
            for turns in range(40):
                await link.start(turns, "slow")
                for _ in range(turns % 13):
                    await asyncio.sleep(0)
                await link.unfollow(turns, UNFOLLOW_REASON_LEFT)
            await link.start(99, "echo")
            await link.ended(99)
        await nothing_left(core)


@pytest.fixture
async def cores() -> AsyncIterator[tuple[Core, Core]]:
    """Two cores that share their runs."""
    given = {"store": shared_redis().url, "redis_prefix": uuid4().hex, "disconnect_grace_s": LONG_S}
    async with running_core(**given) as one, running_core(**given) as other:
        yield one, other


@pytest.mark.needs("redis")
async def test_a_run_of_another_core_hears_of_those_who_leave_here(cores: tuple[Core, Core]) -> None:
    """Whoever leaves ends it where it is written; whoever is evicted does not."""
    one, other = cores
    async with linked(other) as link:
        for follow_id, reason in ((1, UNFOLLOW_REASON_EVICTED), (2, UNFOLLOW_REASON_LEFT)):
            run_id = await one.start("slow", on_disconnect=ON_DISCONNECT_CANCEL)
            await link.follow(follow_id, run_id)
            await link.until(lambda follow_id=follow_id: len(link.events(follow_id)) > 3)
            async with asyncio.timeout(WITHIN_S):
                while not one.server.manager.live(run_id).followers.elsewhere:
                    await asyncio.sleep(0.01)
            await link.unfollow(follow_id, reason)
            if reason == UNFOLLOW_REASON_LEFT:
                assert await ends(one, run_id) < 10
            else:
                await goes_on(one, run_id, 0.5)
        assert other.server.manager.followers.remote.runs == 0


@pytest.mark.needs("redis")
async def test_one_who_leaves_at_a_core_that_goes_down_has_left(cores: tuple[Core, Core]) -> None:
    """Said in so many words, it is not taken for a stream that the core ends."""
    one, other = cores
    own = await other.start("slow")
    run_id = await one.start("slow", on_disconnect=ON_DISCONNECT_CANCEL)
    async with linked(other) as link:
        await link.follow(1, run_id)
        await link.follow(2, own)
        await link.until(lambda: bool(link.events(1)) and bool(link.events(2)))
        hurry = asyncio.Event()
        other.server._settings = other.server._settings.model_copy(update={"drain_s": WITHIN_S})
        stopping = asyncio.create_task(other.server.stop(hurry))
        await link.until(lambda: "draining" in link.controls(1))
        await link.unfollow(1, UNFOLLOW_REASON_LEFT)
        assert await ends(one, run_id) < 10
        hurry.set()
        await stopping
