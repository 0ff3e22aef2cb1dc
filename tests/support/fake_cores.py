"""Cores that open sources which bring what a test says, and a stream that reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from edge.errors import EdgeError, UpstreamError
from edge.upstream.contract import Caller, Leave
from edge.upstream.departures import Departures
from edge.upstream.reader import RunReader
from edge.upstream.run_call import FollowCall
from edge.upstream.source import SourceOwner
from edge.upstream.start_call import StartCall
from edge.upstream.tasks import BackgroundTasks
from tests.support.upstream import CALLER, Reader
from tokenwire.cursor import START
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import Done, Event, TextDelta
from tokenwire.v1.link_pb2 import LinkBatch
from tokenwire.v1.run_pb2 import RunSpec

RUN_ID = "abcd" + "0" * 26


class Source:
    """Feeds a reader with what a test says."""

    span_context = INVALID_SPAN_CONTEXT

    def __init__(self, owner: SourceOwner, what: str, *, can_leave: bool) -> None:
        self.owner = owner
        self.what = what
        self.told: list[str] = []
        self.can_leave = can_leave

    is_asked = True

    def resume(self) -> None:
        self.told.append("resume")

    def leave(self, otherwise: Callable[[], None]) -> bool:
        del otherwise
        if self.can_leave:
            self.told.append("leave")
        return self.can_leave

    def finish(self) -> None:
        self.told.append("finish")

    def close(self, reason: Leave) -> None:
        self.told.append(f"close {reason.value}")

    def send(self, *events: Event, **fields: Any) -> None:
        """Bring something."""
        self.owner.on_first()
        message = LinkBatch(run_id=RUN_ID, events=events, **fields)
        if self.owner.reader.feed(message, SenderClock(1, 1, 0, 0), 1, 1):
            self.owner.on_change()


class Member:
    """A core that opens such sources."""

    def __init__(self, target: str, scope: pb.LogScope.ValueType = pb.LOG_SCOPE_SHARED) -> None:
        self.target = target
        self.status = pb.Core(incarnation=target, log_scope=scope, ready=True)
        self.answers = True
        self.streams = 0
        self.silent_s = 0.0
        self.sources: list[Source] = []
        self.watchers: set[Callable[[], None]] = set()
        self.told: list[str] = []
        self.gone = False
        self.can_leave = True

    def start_run(self, owner: SourceOwner, caller: Caller, run: RunSpec) -> Source:
        del caller, run
        return self._opened(owner, "start")

    def follow_run(self, owner: SourceOwner, caller: Caller, attempt: object) -> Source:
        del caller, attempt
        return self._opened(owner, f"follow after {owner.reader.cursor.sequence}")

    def _opened(self, owner: SourceOwner, what: str) -> Source:
        self.sources.append(Source(owner, what, can_leave=self.can_leave))
        return self.sources[-1]

    def watch(self, on_silence: Callable[[], None]) -> None:
        self.watchers.add(on_silence)

    def unwatch(self, on_silence: Callable[[], None]) -> None:
        self.watchers.discard(on_silence)

    def suspect(self, error: EdgeError) -> None:
        del error
        self.told.append("suspect")

    def interrupted(self) -> None:
        self.told.append("interrupted")

    def failed(self) -> None:
        self.told.append("failed")

    def drains(self) -> None:
        self.status.ready, self.status.draining = False, True

    async def is_gone(self) -> bool:
        return self.gone


class Cores:
    """All of them, asked in order."""

    def __init__(self, *members: Member) -> None:
        self.members = members
        self.are_known = True
        self.known = asyncio.Event()
        self.tasks = BackgroundTasks()

    async def learn(self) -> None:
        if not self.are_known:
            await self.known.wait()

    def for_start(self, session: str) -> list[Member]:
        del session
        return list(self.members)

    def for_run(self, run_id: str) -> list[Member]:
        del run_id
        return list(self.members)

    def can_replace(self, member: Member) -> bool:
        return any(other is not member for other in self.members)


class Way:
    """Two cores, who is told of departures, and one sink."""

    def __init__(self) -> None:
        self.one, self.other = Member("abcd"), Member("efgh")
        self.cores = Cores(self.one, self.other)
        self.left: list[str] = []
        self.departures = Departures(self._cancel_run)
        self.sink = Reader()

    async def _cancel_run(self, run_id: str, cause: object, caller: Caller) -> Any:
        del cause, caller
        self.left.append(run_id)

    def follow(self, sink: Reader | None = None) -> FollowCall:
        reader = RunReader(RUN_ID, START)
        call = FollowCall(self.cores, self.departures, CALLER, reader)  # type: ignore[arg-type]
        call.start(sink or self.sink)
        return call

    def start(self) -> StartCall:
        call = StartCall(self.cores, self.departures, CALLER, RunSpec(message="hi"))  # type: ignore[arg-type]
        call.start(self.sink)
        return call

    async def settled(self) -> None:
        """Return once nothing is under way but what waits for time or for a test."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    made = Way()
    yield made
    await made.cores.tasks.aclose()
    await made.departures.aclose()


def delta(sequence: int) -> Event:
    return Event(sequence=sequence, epoch=1, text_delta=TextDelta(content="a"))


def done(sequence: int) -> Event:
    return Event(sequence=sequence, epoch=1, done=Done())


def away(reason: str = "") -> UpstreamError:
    return UpstreamError("UNAVAILABLE", details={"reason": reason} if reason else None)
