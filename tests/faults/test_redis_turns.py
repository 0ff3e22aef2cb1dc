"""What can happen to a turn's append on its way to Redis: no event is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import pytest
import redis

from agent_core.log.errors import LogAwayError
from agent_core.log.position import START
from agent_core.log.redis import RedisLog
from agent_core.log.redis.lua import HASHES
from agent_core.runs.writer import RunWriter
from tests.support.cores import running_cores
from tests.support.processes import Processes
from tests.support.proxy import DELAY_S, Fault, Plan, proxy_to
from tests.support.reader import reading
from tests.support.redis_server import RedisSentinel, RedisServer
from tests.support.stores import FAR, RUN, STOP, WAKE_S, payload, record, texts
from tokenwire.v1.event_pb2 import Event

pytestmark = pytest.mark.needs("redis")

RUNS = 20
TOKENS = 60
TURN = HASHES["turn"].encode()
AT = 15
"""Which append meets the fault: in the middle of all runs."""

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")

Answer = TypeVar("Answer")

Happens: TypeAlias = Callable[[RedisServer], Fault]
"""What happens to Redis and to a turn's request, before it is passed on."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that keeps all that it has accepted, for all faults that leave it as it was."""
    started = RedisServer(tmp_path_factory.mktemp("redis"), *ALWAYS)
    yield started
    started.stop()


async def surely(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return an answer of the log, however often it is away: a connection that was idle may have been cut."""
    while True:
        try:
            return await ask()
        except LogAwayError:
            await asyncio.sleep(0.05)


class Followed:
    """Some runs that are written, and who reads them."""

    def __init__(self, log: RedisLog, count: int = RUNS) -> None:
        self.log = log
        self.away = 0
        self.ids = [f"k7q2{number:026}" for number in range(count)]

    async def write(self, tokens: int = TOKENS) -> None:
        """Write all runs to their ends, and read them meanwhile.

        Raises:
            AssertionError: A reader missed something, or the log has not what was written.
        """
        for run_id in self.ids:
            await surely(partial(self.log.create, record(run_id)))
        reading = [asyncio.create_task(self._read(run_id)) for run_id in self.ids]
        writers = [RunWriter(self.log, record(run_id), on_away=self._went_away) for run_id in self.ids]
        for number in range(tokens):
            for writer in writers:
                writer.write([payload(str(number))])
            # So that there are as many turns, however slow the machine is; the other runs are not waited for.
            await writers[number % len(writers)].flush()
            await asyncio.sleep(0.001)
        await asyncio.gather(*(writer.close(payload("end"), STOP) for writer in writers))
        whole = [*map(str, range(tokens)), "end"]
        async with asyncio.timeout(WAKE_S):
            assert await asyncio.gather(*reading) == [whole] * len(self.ids)
        for run_id in self.ids:
            batch = await surely(partial(self.log.read, run_id, START, FAR, FAR))
            assert texts(batch.events) == whole

    async def _read(self, run_id: str) -> list[str]:
        tail = await self.log.tail(run_id, START, 64, FAR)
        read: list[str] = []
        while True:
            batch = await tail.next()
            assert batch.first == len(read) + 1
            read += texts(batch.events)
            if batch.complete:
                await tail.aclose()
                return read

    def _went_away(self, error: LogAwayError) -> None:
        assert str(error)
        self.away += 1


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisLog]:
    log = RedisLog(url, prefix=uuid4().hex, core="core")
    await log.start()
    try:
        yield log
    finally:
        await log.aclose()
        await log.peers._client.aclose()


def at_turn(server: RedisServer, happens: Happens, *numbers: int) -> Plan:
    """Return the plan that lets something happen at some of the turns' requests."""
    turns = itertools.count(1)
    lock = threading.Lock()

    def plan(request: bytes) -> Fault:
        with lock:
            is_due = TURN in request and next(turns) in numbers
        return happens(server) if is_due else Fault.PASS

    return plan


def flushes(server: RedisServer) -> Fault:
    server.client.script_flush()
    return Fault.PASS


def kills_connections(server: RedisServer) -> Fault:
    server.client.client_kill_filter(_type="normal", skipme=True)
    return Fault.PASS


_over: list[threading.Timer] = []


@pytest.fixture(autouse=True)
def set_back() -> Iterator[None]:
    """Waits until what was to last for a moment is over: the server is shared."""
    yield
    while _over:
        _over.pop().join()


def for_a_moment(begin: Callable[[redis.Redis], Any], end: Callable[[redis.Redis], Any]) -> Happens:
    """Return what sets Redis so that it refuses, and back after a while."""

    def happens(server: RedisServer) -> Fault:
        begin(server.client)
        _over.append(threading.Timer(0.3, end, [server.client]))
        _over[-1].start()
        return Fault.PASS

    return happens


def refuses_connections(server: RedisServer) -> Fault:
    """Have this connection cut, and no other taken for a while."""
    for_a_moment(lambda to: to.config_set("maxclients", "1"), lambda to: to.config_set("maxclients", "1000"))(
        server
    )
    return Fault.LOSE_REQUEST


LEAVE_AS_IT_WAS: dict[str, tuple[Happens, bool]] = {
    "request lost": (lambda _: Fault.LOSE_REQUEST, True),
    "reply lost": (lambda _: Fault.LOSE_REPLY, True),
    "late": (lambda _: Fault.DELAY, False),
    "scripts flushed": (flushes, False),
    "connections killed": (kills_connections, True),
    "too many connections": (refuses_connections, True),
    "no memory": (
        for_a_moment(lambda to: to.config_set("maxmemory", "1"), lambda to: to.config_set("maxmemory", "0")),
        True,
    ),
    "a replica": (
        for_a_moment(lambda to: to.replicaof("127.0.0.1", "1"), lambda to: to.replicaof("NO", "ONE")),
        True,
    ),
}


@pytest.mark.parametrize("name", LEAVE_AS_IT_WAS)
async def test_what_happens_to_a_turn_loses_and_doubles_nothing(server: RedisServer, name: str) -> None:
    """Whether Redis has carried it out or not; the runs notice that the log is away if it is."""
    happens, is_away = LEAVE_AS_IT_WAS[name]
    with proxy_to(f"127.0.0.1:{server.port}") as proxy:
        async with opened(f"redis://127.0.0.1:{proxy.port}/0") as log:
            runs = Followed(log)
            proxy.plan = at_turn(server, happens, AT, AT + 10)
            await runs.write()
            assert (runs.away > 0) == is_away


@pytest.mark.parametrize("options", [ALWAYS, ()], ids=["as it was", "empty"])
@pytest.mark.parametrize("executed", [False, True], ids=["before it", "after it"])
async def test_a_crash_of_redis_at_a_turn_loses_and_doubles_nothing(
    tmp_path: Path, options: tuple[str, ...], *, executed: bool
) -> None:
    """It comes back as it was, or empty: what its writers had accepted is written again."""
    server = RedisServer(tmp_path, *options)
    with proxy_to(f"127.0.0.1:{server.port}") as proxy:
        async with opened(f"redis://127.0.0.1:{proxy.port}/0") as log:
            runs = Followed(log)
            killed = threading.Event()

            def crashes(server: RedisServer) -> Fault:
                server.kill()
                killed.set()
                return Fault.LOSE_REQUEST

            def comes_back() -> None:
                assert killed.wait(WAKE_S)
                server.start()  # Not in the proxy's thread: a process ends with the thread that began it.

            crash = at_turn(server, crashes, AT + executed)
            lose = at_turn(server, lambda _: Fault.LOSE_REPLY, AT)

            def plan(request: bytes) -> Fault:
                fault = crash(request)
                return lose(request) if executed and fault is Fault.PASS else fault

            proxy.plan = plan
            await asyncio.gather(runs.write(), asyncio.to_thread(comes_back))
            assert runs.away > 0
    server.stop()


async def test_a_failover_in_the_middle_of_appends_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The primary dies with what its replica may not have got; Sentinel names another; the writers go on."""
    with RedisSentinel(tmp_path) as sentinel:
        async with opened(sentinel.url) as log:
            before = sentinel.primary_port
            runs = Followed(log, 10)
            writing = asyncio.create_task(runs.write(tokens=400))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(sentinel.primary.kill)
            await writing
            assert runs.away > 0
            assert sentinel.primary_port != before


async def test_an_ordered_failover_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The old primary stays, as a replica that refuses to be written."""
    with RedisSentinel(tmp_path) as sentinel:
        async with opened(sentinel.url) as log:
            before = sentinel.primary_port
            runs = Followed(log, 10)
            writing = asyncio.create_task(runs.write(tokens=400))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(sentinel.fail_over)
            await writing
            assert sentinel.primary_port != before


async def test_the_time_of_a_slow_redis_is_in_the_stamp_of_the_log(server: RedisServer) -> None:
    """For those who read at the core that writes; what is read from Redis has the time of sending."""
    with proxy_to(f"127.0.0.1:{server.port}") as proxy:
        async with opened(f"redis://127.0.0.1:{proxy.port}/0") as log:
            await log.create(record())
            tail = await log.tail(RUN, START, 9, FAR)
            await log.append(RUN, 1, 1, [payload("1")])
            proxy.plan = lambda request: Fault.DELAY if TURN in request else Fault.PASS
            await log.append(RUN, 1, 2, [payload("2")])
            here = (await tail.next()).events
            there = (await log.read(RUN, START, 9, FAR)).events
            late_s = [
                (Event.FromString(own).timing.logged_nano - Event.FromString(read).timing.logged_nano) / 1e9
                for own, read in zip(here, there, strict=True)
            ]
            assert late_s[1] >= DELAY_S
            assert texts(here) == texts(there) == ["1", "2"]
            await tail.aclose()


async def test_a_core_that_dies_at_a_turn_leaves_all_that_redis_has_got_and_one_end(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Before its request is passed on, or before the answer: readers at another core see the same."""
    with proxy_to(f"127.0.0.1:{redis_server.port}") as proxy:
        store = f"redis://127.0.0.1:{proxy.port}/0"
        async with running_cores(processes, 3, store=store) as (*victims, other), AsyncExitStack() as stack:
            run_ids = [await victim.start("counts", "2000 10") for victim in victims]
            readers = [await stack.enter_async_context(reading(run_id, other.address)) for run_id in run_ids]
            await asyncio.gather(*(reader.more(20) for reader in readers))
            left = dict(
                zip(run_ids, zip(victims, (Fault.LOSE_REQUEST, Fault.PASS), strict=True), strict=True)
            )

            def plan(request: bytes) -> Fault:
                for run_id in tuple(left) if TURN in request else ():
                    if run_id.encode() in request:
                        victim, fault = left.pop(run_id)
                        victim.kill()
                        return fault
                return Fault.PASS

            proxy.plan = plan
            for run_id, reader in zip(run_ids, readers, strict=True):
                read = await reader.whole()
                assert read.events[-1].error.details["reason"] == "PRODUCER_LOST"
                count = len(read.events) - 2
                assert read.text == "".join(f"{number} " for number in range(count))
                assert redis_server.client.xlen(f"tokenwire:{{{run_id}}}:log") == len(read.events)
            assert left == {}
