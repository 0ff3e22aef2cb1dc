"""What many short follows, and links that break under them, leave behind at edge and core: nothing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import pytest

from edge.upstream import GrpcUpstream, Leave
from edge.upstream.member import Member
from tests.integration.test_core_link_life import nothing_left
from tests.support.core import Core, running_core
from tests.support.proxy import proxy_to
from tests.support.upstream import CALLER, WITHIN_S, Reader, upstream
from tokenwire.cursor import START, Cursor
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RUN_STATE_ENDED

FOLLOWS: Final = 600
AT_A_TIME: Final = 100
REASONS: Final = tuple(Leave)


class Follows:
    """Short follows of every kind.

    Args:
        way: To the core.
        ended: A run that has ended.
        live: A run that goes on.
    """

    def __init__(self, way: GrpcUpstream, ended: str, live: str) -> None:
        self._way = way
        self._ended = ended
        self._live = live

    async def run(self, number: int) -> None:
        """Follow a run and leave it, as the number says."""
        kind, reason = number % 5, REASONS[number // 5 % len(REASONS)]
        reader = Reader()
        run_id = [self._ended, self._ended, "nonsense", self._live, self._live][kind]
        after = Cursor(1, 99) if kind == 1 else START  # ahead of the log
        call = self._way.follow_run(run_id, after, CALLER)
        call.start(reader)
        if kind < 3:
            assert (await reader.read_to_end() is None) == (kind != 2)
            return
        if kind == 3:
            await reader.read_events(1)
        for _ in range(number % 17 if kind == 4 else 0):
            await asyncio.sleep(0)  # it may be asked for, being opened, or open by then
        call.close(reason)

    async def run_all(self) -> None:
        for first in range(0, FOLLOWS, AT_A_TIME):
            await asyncio.gather(*(self.run(number) for number in range(first, first + AT_A_TIME)))


@contextmanager
def collecting() -> Iterator[Counter[str]]:
    """Count the objects of ours, by their types, that only a collection of garbage would free."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        types = [type(each) for each in gc.garbage]
        found.update(each.__qualname__ for each in types if each.__module__.partition(".")[0] in OURS)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


OURS: Final = {"agent_core", "edge", "tokenwire"}


async def require_nothing_left(core: Core, way: GrpcUpstream, member: Member) -> None:
    """Fail unless the edge and the core have nothing of any follow."""
    link = member._link
    assert link is not None
    async with asyncio.timeout(WITHIN_S):
        while link._outgoing or len(way._cores.tasks) or len(way._departures.tasks):
            await asyncio.sleep(0.01)
    assert (len(link._follows), member.streams, len(member._watchers)) == (0, 0, 0)
    links = core.server._links
    async with asyncio.timeout(WITHIN_S):
        while links._parts.tasks or links._parts.closing or core.server.manager._followers:
            await asyncio.sleep(0.01)
    for session in links._sessions:
        writer = session._writer
        assert (len(session._follows), len(writer._queue), len(writer._said), writer._skipped) == (0, 0, 0, 0)
    assert core.server.manager._limiter.follows.in_use == 0
    for log in core.server.manager._log._logs.values():  # type: ignore[attr-defined]
        assert (log.readers, log.listening, log.waiting) == (0, {}, {})


@pytest.fixture
async def runs(core: Core) -> tuple[str, str]:
    """Return a run that has ended, and one that goes on."""
    ended = await core.start("echo", "a b c")
    async with asyncio.timeout(WITHIN_S):
        while (await core.run(ended)).state != RUN_STATE_ENDED:
            await asyncio.sleep(0.01)
    return ended, await core.start("slow", on_disconnect=ON_DISCONNECT_CONTINUE)


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with running_core() as running:
        yield running


async def test_short_follows_leave_nothing_behind(core: Core, runs: tuple[str, str]) -> None:
    """However they end: read to the end, left, evicted, refused, closed before they were asked for."""
    async with upstream(f"127.0.0.1:{core.server.port}") as (way, (member,)):
        follows = Follows(way, *runs)
        await follows.run_all()
        with collecting() as found:
            await follows.run_all()
            await require_nothing_left(core, way, member)
        assert dict(found) == {}


async def test_links_that_break_under_follows_leave_nothing_behind(core: Core, runs: tuple[str, str]) -> None:
    """Each follow goes on over the next link; of the links that broke neither side keeps anything."""
    async with AsyncExitStack() as stack:
        proxy = stack.enter_context(proxy_to(f"127.0.0.1:{core.server.port}"))
        way, (member,) = await stack.enter_async_context(upstream(proxy.address))
        with collecting() as found:
            for _ in range(4):
                readers = [Reader() for _ in range(50)]
                calls = [way.follow_run(runs[1], START, CALLER) for _ in readers]
                for call, reader in zip(calls, readers, strict=True):
                    call.start(reader)
                await readers[0].read_events(1)
                proxy.cut()
                await asyncio.gather(*(reader.read_events(3) for reader in readers))
                for call in calls:
                    call.close(Leave.LEFT)
            del readers, calls, call, reader
            await require_nothing_left(core, way, member)
        assert dict(found) == {}
    await core.stub.CancelRun(pb.CancelRunRequest(run_id=runs[1]))
    await nothing_left(core)
