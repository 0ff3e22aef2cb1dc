"""Connections to Redis break, in all the ways that networks know: nothing is lost, and nothing doubled."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from agent_core.log.redis.lua import HASHES
from tests.support.cores import CoreProcess, running_cores, steps
from tests.support.processes import Processes, wait_until
from tests.support.proxy import Connection, Fault, Plan, Proxy, proxy_to
from tests.support.reader import WITHIN_S, Reader, reading
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.needs("redis")

SEED = int(os.environ.get("TOKENWIRE_TEST_SEED", "1"))
"""Of what happens at random. Another one finds other things."""

NUMBERS = 200
"""How many numbers the runs say here, one every 10 ms."""


LOST_LOOKS = 4
"""How many replies to renewals and looks are lost: two of each core's, about."""


@asynccontextmanager
async def behind_a_proxy(
    processes: Processes, server: RedisServer
) -> AsyncIterator[tuple[CoreProcess, CoreProcess, Proxy]]:
    """Run two cores that reach Redis through one proxy."""
    with proxy_to(f"127.0.0.1:{server.port}") as proxy:
        store = f"redis://127.0.0.1:{proxy.port}/0"
        async with running_cores(processes, 2, store=store) as (one, other):
            yield one, other, proxy


async def assert_complete(readers: list[Reader]) -> None:
    """Say that each got all numbers and one end, and was never told to begin again."""
    for reader in readers:
        read = await reader.whole()
        assert read.text == "".join(f"{number} " for number in range(NUMBERS))
        assert read.resyncs == 0


def fails_to_fetch_words(wake: Fault, renewals: int) -> Plan:
    """Return the plan to spoil how cores fetch words that others left for them.

    Args:
        wake: What becomes of the fetches after a core was woken.
        renewals: To how many renewals of a lease, which fetch words too, the reply is lost.
    """
    left = itertools.chain(itertools.repeat(Fault.LOSE_REPLY, renewals), itertools.repeat(Fault.PASS))

    def plan(request: bytes) -> Fault:
        if HASHES["renew"].encode() in request:
            return next(left)
        is_fetch = b"RANGE" in request and b"inbox" in request
        return wake if is_fetch else Fault.PASS

    return plan


async def test_readers_miss_nothing_while_subscriptions_are_killed(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Again and again in mid-run; those who come between two of them read the same."""
    async with running_cores(processes, 2, store=redis_server.url) as (one, other), AsyncExitStack() as stack:
        run_id = await one.start("counts", f"{NUMBERS} 10")
        readers = [await stack.enter_async_context(reading(run_id, core.address)) for core in (one, other)]
        killed = 0
        while not readers[0].reading.ended:
            killed += redis_server.client.client_kill_filter(_type="pubsub")
            readers.append(await stack.enter_async_context(reading(run_id, other.address)))
            await asyncio.sleep(0.05 if killed % 3 else 0.3)
        assert killed > 5
        await assert_complete(readers)
        assert [reader.connections for reader in readers] == [1] * len(readers)


async def test_an_append_whose_reply_is_lost_is_not_written_twice(
    processes: Processes, redis_server: RedisServer
) -> None:
    """It was carried out; so is its repetition, which changes nothing."""
    appends = itertools.count()

    def every_tenth(request: bytes) -> Fault:
        is_append = HASHES["turn"].encode() in request
        return Fault.LOSE_REPLY if is_append and next(appends) % 10 == 5 else Fault.PASS

    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        run_id = await one.start("counts", f"{NUMBERS} 10")
        async with reading(run_id, one.address) as here, reading(run_id, other.address) as there:
            proxy.plan = every_tenth
            await assert_complete([here, there])
            assert proxy.done[Fault.LOSE_REPLY] > 5
            assert here.connections == there.connections == 1


def first_of(script: str, count: int = 1) -> Plan:
    """Return the plan to lose the replies to the first requests that run a script."""
    left = itertools.chain(itertools.repeat(Fault.LOSE_REPLY, count), itertools.repeat(Fault.PASS))
    return lambda request: next(left) if HASHES[script].encode() in request else Fault.PASS


async def test_a_start_whose_reply_is_lost_is_one_run(
    processes: Processes, redis_server: RedisServer
) -> None:
    """The client notices nothing, and its session is not kept busy by a run that nobody writes."""
    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        proxy.plan = first_of("create")
        run_id = await one.start("counts", "3 1", session_id="s")
        assert proxy.done[Fault.LOSE_REPLY] == 1
        async with reading(run_id, other.address) as there:
            assert (await there.whole()).text == "0 1 2 "
        assert await other.start("counts", "3 1", session_id="s")


async def test_a_silent_run_comes_back_to_a_wiped_redis_though_replies_are_lost(
    processes: Processes, redis_server: RedisServer
) -> None:
    """It says nothing that would bring it back, and its core is kept from looking, for a while."""
    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        run_id = await one.start("silent")
        async with reading(run_id, other.address) as there:
            await there.more(1)
            lost = itertools.count()

            def first_looks(request: bytes) -> Fault:
                is_look = HASHES["turn"].encode() in request or HASHES["renew"].encode() in request
                return Fault.LOSE_REPLY if is_look and next(lost) < LOST_LOOKS else Fault.PASS

            proxy.plan = first_looks
            redis_server.client.flushall()
            await asyncio.to_thread(wait_until, lambda: knows(redis_server, run_id), "it is back", WITHIN_S)
            await one.cancel(run_id)
            assert (await there.whole()).events[-1].HasField("done")
            assert there.connections == 1


def knows(server: RedisServer, run_id: str) -> bool:
    """Return whether Redis knows a run."""
    return bool(server.client.exists(f"tokenwire:{{{run_id}}}:meta"))


async def test_nothing_is_lost_or_doubled_whatever_the_network_does(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Requests and replies vanish, connections break and dawdle, of runs, leases and subscriptions alike."""
    dice = random.Random(SEED)  # noqa: S311 # the same each time
    faults = [Fault.LOSE_REPLY, Fault.LOSE_REQUEST, Fault.DELAY]

    def at_random(request: bytes) -> Fault:
        del request
        return dice.choice(faults) if dice.random() < 0.08 else Fault.PASS  # about 1 in 12

    async with behind_a_proxy(processes, redis_server) as (one, other, proxy), AsyncExitStack() as stack:
        proxy.plan = at_random
        readers: list[Reader] = []
        run_ids: list[str] = []
        for core in (one, other, one):
            run_id = await start_when_possible(core, f"{NUMBERS} 10", f"request {len(run_ids)}")
            run_ids.append(run_id)
            readers += [await stack.enter_async_context(reading(run_id, at.address)) for at in (one, other)]
        await assert_complete(readers)
        assert min(proxy.done.values()) > 0
        assert [steps(processes, run_id) for run_id in run_ids] == [["started", "finished"]] * 3
        assert len(set(run_ids)) == len(run_ids)


async def start_when_possible(core: CoreProcess, message: str, request_id: str) -> str:
    """Start a run as a client does: the same request again while it is refused with UNAVAILABLE."""
    while True:
        try:
            return await core.start("counts", message, request_id=request_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.1)


def subscriptions(proxy: Proxy) -> list[Connection]:
    """Return the connections on which cores hear something."""
    return [each for each in proxy.connections if b"SUBSCRIBE" in each.said and not each.silent.is_set()]


async def test_a_subscription_that_fell_silent_is_made_again(
    processes: Processes, redis_server: RedisServer
) -> None:
    """No packet says that it is gone; those who follow read on, and newcomers are not refused."""
    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        run_id = await one.start("counts", f"{NUMBERS} 10")
        async with reading(run_id, other.address) as there:
            await there.more(20)
            assert proxy.silence(b"SUBSCRIBE") == 2
            async with asyncio.timeout(WITHIN_S):
                while (
                    sum(b"SUBSCRIBE" in each.said and not each.silent.is_set() for each in proxy.connections)
                    < 2
                ):
                    await asyncio.sleep(0.05)
            second = await one.start("counts", f"{NUMBERS} 10")
            async with reading(second, other.address) as newcomer:
                await assert_complete([there, newcomer])
                assert there.connections == newcomer.connections == 1


async def test_all_connections_falling_silent_stop_no_run(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Each is given up when it does not answer in time; new ones carry on before a lease runs out."""
    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        run_id = await one.start("counts", f"{NUMBERS} 10")
        async with reading(run_id, one.address) as here, reading(run_id, other.address) as there:
            await asyncio.gather(here.more(20), there.more(20))
            assert proxy.silence(b"") > 4
            await assert_complete([here, there])
            assert steps(processes, run_id) == ["started", "finished"]


async def test_a_word_for_another_core_survives_a_lost_reply(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Whoever fetches it and loses the reply fetches it again: a run that was stopped elsewhere stops."""
    async with behind_a_proxy(processes, redis_server) as (one, other, proxy):
        for plan in (fails_to_fetch_words(Fault.LOSE_REPLY, 0), fails_to_fetch_words(Fault.LOSE_REQUEST, 3)):
            run_id = await one.start("silent")
            async with reading(run_id, other.address) as there:
                await there.more(1)
                proxy.plan = plan
                await other.cancel(run_id)
                assert (await there.whole()).events[-1].HasField("done")
