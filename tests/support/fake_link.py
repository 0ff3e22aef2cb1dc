"""A link without its core: the core's side of it, and owners of follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.trace import INVALID_SPAN

from edge.errors import EdgeError
from edge.telemetry.client_span import Attempt, StreamSpan
from edge.upstream.contract import Leave
from edge.upstream.link import Link, LinkPeer
from edge.upstream.link_follow import LinkFollow
from edge.upstream.reader import RunReader
from tests.support.upstream import WITHIN_S, Reader
from tokenwire.cursor import START
from tokenwire.v1 import link_pb2
from tokenwire.v1.event_pb2 import Event, TextDelta
from tokenwire.v1.link_pb2 import LinkBatch, LinkRequest, LinkResponse, LinkStart, LinkWelcome
from tokenwire.v1.stream_pb2 import Clock

BUDGET_BYTES = 10_000


class LinkCore:
    """The core's side of a link: keeps what was written, says what it is told to."""

    def __init__(self) -> None:
        self.written: list[LinkRequest] = []
        self.connections = 0
        self.is_stuck = False
        self.answers = True
        self.drained = 0
        self.doubts = 0
        self._responses: asyncio.Queue[Any] = asyncio.Queue()

    def connect(self) -> LinkCore:
        self.connections += 1
        self._responses = asyncio.Queue()
        return self

    def drains(self) -> None:
        self.drained += 1

    def doubt(self) -> None:
        self.doubts += 1

    async def write(self, request: LinkRequest) -> None:
        while self.is_stuck:
            await asyncio.sleep(0.001)
        self.written.append(request)

    async def read(self) -> Any:
        response = await self._responses.get()
        if isinstance(response, BaseException):
            raise response
        return response

    def cancel(self) -> None:
        self._responses.put_nowait(asyncio.CancelledError())

    def end(self, how: Any) -> None:
        self._responses.put_nowait(how)

    async def say(self, *batches: LinkBatch, lag: int = 0, **fields: Any) -> None:
        """Send a message, and return once it was dispatched."""
        clock = Clock(id=7, send_nano=5, loop_lag_nano=lag)
        self._responses.put_nowait(LinkResponse(clock=clock, batches=batches, **fields).SerializeToString())
        await settled()

    async def welcome(self) -> None:
        await settled()
        await self.say(hello=LinkWelcome(incarnation="abcd"))

    @property
    def asked(self) -> list[str]:
        """What was asked, in words."""
        return [str(request.WhichOneof("request")) for request in self.written]


class Owner:
    """Owns one follow, and keeps what it is told."""

    def __init__(self, link: Link, sink: Any = None, *, is_start: bool = False) -> None:
        self.sink = sink or Reader()
        self.reader = RunReader("" if is_start else "r1", START)
        self.reader.sink = self.sink
        self.told: list[str] = []
        self.failures: list[EdgeError] = []
        self.follow = LinkFollow(link, StreamSpan(INVALID_SPAN, Attempt.FIRST), self, is_start=is_start)
        credit = self.follow.first_credit()
        request = LinkRequest(start=LinkStart(follow_id=self.follow.id, credit=credit))
        if not is_start:
            request = LinkRequest(follow=link_pb2.LinkFollow(follow_id=self.follow.id, credit=credit))
        link.add(self.follow, request)

    def on_first(self) -> None:
        self.told.append("first")

    def on_change(self) -> None:
        self.told.append("change")
        if self.reader.ended:
            self.follow.finish()

    def on_failed(self, error: EdgeError) -> None:
        self.told.append("failed")
        self.failures.append(error)

    def on_crashed(self, error: Exception) -> None:
        self.told.append(f"crashed {error}")
        self.follow.close(Leave.BROKEN)

    def on_refused(self) -> None:
        self.told.append("refused")


async def settled() -> None:
    """Return once every task has done what it can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


def delta(sequence: int) -> Event:
    return Event(sequence=sequence, epoch=1, text_delta=TextDelta(content="a"))


def batch(owner: Owner, *events: Event, size: int = 10, **fields: Any) -> LinkBatch:
    """Return what came for a follow."""
    size_bytes = size * len(events)
    return LinkBatch(follow_id=owner.follow.id, run_id="r1", events=events, event_bytes=size_bytes, **fields)


def error_of(code: grpc.StatusCode, reason: str = "") -> grpc.aio.AioRpcError:
    """Return how a call ends that gRPC, or with a reason the core, refuses."""
    trailing = grpc.aio.Metadata()
    if reason:
        info = Packed()
        info.Pack(error_details_pb2.ErrorInfo(domain="tokenwire", reason=reason))
        rich = status_pb2.Status(code=code.value[0], message="As it is.", details=[info])
        trailing.add("grpc-status-details-bin", rich.SerializeToString())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="no")


@pytest.fixture
def core() -> LinkCore:
    return LinkCore()


@pytest.fixture
async def link(core: LinkCore) -> AsyncIterator[Link]:
    peer = LinkPeer("core:1", core.connect, lambda: core.answers, core.doubt, core.drains)  # type: ignore[arg-type]
    made = Link(peer, BUDGET_BYTES)
    yield made
    async with asyncio.timeout(WITHIN_S):
        await made.aclose(0.0)
