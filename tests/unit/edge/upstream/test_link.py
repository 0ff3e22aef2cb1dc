"""The link to one core, without the core: what it writes, and whom it hands what comes."""

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
from edge.upstream import link as link_module
from edge.upstream.contract import Leave
from edge.upstream.link import Link, LinkPeer
from edge.upstream.link_follow import WINDOW_EVENTS, LinkFollow
from edge.upstream.reader import RunReader
from tests.support.upstream import WITHIN_S, Reader
from tokenwire.cursor import START
from tokenwire.v1 import link_pb2
from tokenwire.v1.event_pb2 import Done, Error, Event, TextDelta
from tokenwire.v1.link_pb2 import LinkBatch, LinkEnd, LinkRequest, LinkResponse, LinkStart, LinkWelcome
from tokenwire.v1.stream_pb2 import Clock, Control, Degraded, Draining

BUDGET_BYTES = 10_000


class Core:
    """The core's side of a link: keeps what was written, says what it is told to."""

    def __init__(self) -> None:
        self.written: list[LinkRequest] = []
        self.connections = 0
        self.is_stuck = False
        self.answers = True
        self.drained = 0
        self._responses: asyncio.Queue[Any] = asyncio.Queue()

    def connect(self) -> Core:
        self.connections += 1
        self._responses = asyncio.Queue()
        return self

    def drains(self) -> None:
        self.drained += 1

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
def core() -> Core:
    return Core()


@pytest.fixture
async def link(core: Core) -> AsyncIterator[Link]:
    peer = LinkPeer("core:1", core.connect, lambda: core.answers, core.drains)  # type: ignore[arg-type]
    made = Link(peer, BUDGET_BYTES)
    yield made
    async with asyncio.timeout(WITHIN_S):
        await made.aclose(0.0)


async def test_nothing_but_the_hello_is_written_before_the_core_has_answered_it(
    core: Core, link: Link
) -> None:
    """Then all that waits, in order, with the first credit."""
    first, second = Owner(link, is_start=True), Owner(link)
    await settled()
    assert core.asked == ["hello"]
    await core.welcome()
    assert core.asked == ["hello", "start", "follow"]
    assert [core.written[1].start.follow_id, core.written[2].follow.follow_id] == [
        first.follow.id,
        second.follow.id,
    ]
    credit = core.written[1].start.credit
    assert (credit.events, credit.bytes) == (WINDOW_EVENTS, BUDGET_BYTES)


async def test_each_follow_is_told_what_is_its_own(core: Core, link: Link) -> None:
    """And that something comes, once; what comes for one that has gone is dropped."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1)), batch(owners[1], delta(1), delta(2)))
    owners[0].follow.close(Leave.BROKEN)
    await core.say(batch(owners[0], delta(2)), batch(owners[1], delta(3)))
    assert [owner.sink.sequences for owner in owners] == [[1], [1, 2, 3]]
    assert [owner.told for owner in owners] == [["first"], ["first"]]


async def test_a_sink_that_raises_ends_its_own_stream_alone(core: Core, link: Link) -> None:
    """The one behind it in the same message misses nothing; the core is told to send no more."""

    class Broken(Reader):
        def flush(self) -> None:
            raise RuntimeError("it is broken")

    owners = [Owner(link, Broken()), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1)), batch(owners[1], delta(1)))
    await core.say(batch(owners[0], delta(2)), batch(owners[1], delta(2)))
    assert owners[0].told == ["first", "crashed it is broken"]
    assert owners[1].sink.sequences == [1, 2]
    assert core.written[-1].unfollow.follow_id == owners[0].follow.id


async def test_a_missing_event_ends_a_follow_alone(core: Core, link: Link) -> None:
    """Its owner follows again from where it is."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1), delta(3)), batch(owners[1], delta(1)))
    assert owners[0].failures[0].details["reason"] == "SEQUENCE_GAP"
    assert core.asked[-1] == "unfollow"
    assert owners[1].sink.sequences == [1]


@pytest.mark.parametrize(("count", "size"), [(WINDOW_EVENTS // 2, 1), (3, BUDGET_BYTES // 5)])
async def test_credit_is_renewed_when_more_than_half_is_used(
    core: Core, link: Link, count: int, size: int
) -> None:
    """Of the events or of the bytes; as much as came."""
    owner = Owner(link)
    await core.welcome()
    await core.say(batch(owner, *map(delta, range(1, count)), size=size))
    assert core.asked == ["hello", "follow"]
    await core.say(batch(owner, *map(delta, range(count, count + 2)), size=size))
    assert core.asked == ["hello", "follow", "credit"]
    credit = core.written[-1].credit
    assert credit.follow_id == owner.follow.id
    assert (credit.credit.events, credit.credit.bytes) == (count + 1, (count + 1) * size)


async def test_a_sink_that_is_full_gets_credit_once_it_has_room(core: Core, link: Link) -> None:
    """Once; a resume that nobody needs does nothing."""
    owner = Owner(link)
    await core.welcome()
    owner.follow.resume()
    owner.sink.full = True
    await core.say(batch(owner, delta(1), size=2 * BUDGET_BYTES))
    owner.follow.resume()
    await settled()
    assert core.asked == ["hello", "follow"]
    owner.sink.full = False
    owner.follow.resume()
    owner.follow.resume()
    await settled()
    assert core.asked == ["hello", "follow", "credit"]
    assert core.written[-1].credit.credit.bytes == 2 * BUDGET_BYTES


async def test_each_follow_learns_of_all_that_held_the_core_up(core: Core, link: Link) -> None:
    """Also of what was said in messages in which it had no part; else they share the message's clock."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1)), lag=100)
    await core.say(batch(owners[0], delta(2)), batch(owners[1], delta(1)), lag=20)
    await core.say(batch(owners[0], delta(3)), batch(owners[1], delta(2)))
    lags = [[clock.loop_lag_nano for clock in owner.sink.clocks] for owner in owners]
    assert lags == [[100, 20, 0], [120, 0]]
    assert owners[0].sink.clocks[2] == owners[1].sink.clocks[1]
    late = Owner(link)
    await core.say(batch(late, delta(1)))
    assert late.sink.clocks[0].loop_lag_nano == 0, "what was before it is not its own"


async def test_a_link_that_breaks_is_opened_again_for_whoever_needs_it(core: Core, link: Link) -> None:
    """Each follow learns why; new ones have new ids."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    core.end(error_of(grpc.StatusCode.UNAVAILABLE))
    await settled()
    assert [owner.failures[0].code for owner in owners] == ["UNAVAILABLE"] * 2
    assert core.connections == 1
    again = Owner(link)
    await core.welcome()
    assert core.connections == 2
    assert again.follow.id == 3
    await core.say(batch(again, delta(1)))
    assert again.sink.sequences == [1]


async def test_a_link_that_ends_in_good_order_has_broken_its_follows(core: Core, link: Link) -> None:
    """Their runs have not ended."""
    owner = Owner(link)
    await core.welcome()
    core.end(grpc.aio.EOF)
    await settled()
    assert owner.failures[0].details == {"reason": "STREAM_ENDED_EARLY"}


async def test_what_can_not_be_read_breaks_the_link(
    core: Core, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    """And is logged: no follow hangs."""
    owner = Owner(link)
    await core.welcome()
    core.end(b"\xff\xff")
    await settled()
    assert owner.failures[0].code == "UNAVAILABLE"
    assert "reading the link to core:1 failed" in caplog.text


async def test_a_core_without_a_link_is_asked_otherwise(core: Core, link: Link) -> None:
    """Until another process answers at its address."""
    owner = Owner(link)
    await settled()
    core.end(error_of(grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED"))
    await settled()
    assert owner.told == ["refused"]
    assert not link.is_usable
    link.open()
    await settled()
    assert core.connections == 1
    link.retry()
    assert link.is_usable


@pytest.mark.parametrize(
    ("code", "reason"),
    [(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY"), (grpc.StatusCode.UNAUTHENTICATED, "")],
)
async def test_a_link_that_is_refused_is_tried_again_later(
    core: Core, link: Link, monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode, reason: str
) -> None:
    """Meanwhile calls are used, which say what is wrong."""
    owner = Owner(link)
    await settled()
    core.end(error_of(code, reason))
    await settled()
    assert owner.told == ["refused"]
    assert not link.is_usable
    monkeypatch.setattr(link_module, "REFUSED_S", 0.0)
    link.retry()
    owner = Owner(link)
    await settled()
    core.end(error_of(code, reason))
    await settled()
    assert link.is_usable


async def test_a_core_that_can_not_be_reached_has_refused_nothing(core: Core, link: Link) -> None:
    """It is a failure like any call's; one that ends an open link is, too, whatever it says."""
    owner = Owner(link)
    await settled()
    core.end(error_of(grpc.StatusCode.UNAVAILABLE))
    await settled()
    assert owner.told == ["failed"]
    owner = Owner(link)
    await core.welcome()
    core.end(error_of(grpc.StatusCode.UNAVAILABLE, "LINK_SILENT"))
    await settled()
    assert owner.told == ["failed"]
    assert link.is_usable


async def test_leaving_is_told_in_one_step(core: Core, link: Link) -> None:
    """Also while the start is in flight; nothing is told of a start that was never asked for."""
    never = Owner(link, is_start=True)
    assert never.follow.leave(lambda: None)
    owner = Owner(link, is_start=True)
    await core.welcome()
    assert owner.follow.leave(lambda: None)
    await settled()
    assert core.asked == ["hello", "start", "unfollow"]
    unfollow = core.written[-1].unfollow
    assert (unfollow.follow_id, unfollow.reason) == (owner.follow.id, link_pb2.UNFOLLOW_REASON_LEFT)


async def test_a_follow_that_was_never_asked_for_can_not_tell_that_its_client_left(link: Link) -> None:
    """The run goes on, and its core is told otherwise."""
    owner = Owner(link)
    assert not owner.follow.leave(lambda: None)
    owner.follow.close(Leave.LEFT)


async def test_leaving_that_the_link_could_not_tell_is_told_otherwise(core: Core, link: Link) -> None:
    """A core that hangs takes nothing, and then its link breaks."""
    owner, untold = Owner(link), []
    await core.welcome()
    core.is_stuck = True
    assert owner.follow.leave(lambda: untold.append("left"))
    await settled()
    assert untold == []
    core.end(error_of(grpc.StatusCode.UNAVAILABLE))
    await settled()
    core.is_stuck = False
    assert untold == ["left"]
    assert owner.told == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Leave.EVICTED, link_pb2.UNFOLLOW_REASON_EVICTED),
        (Leave.DRAINED, link_pb2.UNFOLLOW_REASON_DRAIN),
        (Leave.BROKEN, link_pb2.UNFOLLOW_REASON_UNSPECIFIED),
    ],
)
async def test_why_a_follow_is_closed_is_told(core: Core, link: Link, reason: Leave, told: int) -> None:
    """Once."""
    owner = Owner(link)
    await core.welcome()
    owner.follow.close(reason)
    owner.follow.close(reason)
    await settled()
    assert core.asked == ["hello", "follow", "unfollow"]
    assert core.written[-1].unfollow.reason == told


async def test_a_run_that_has_ended_needs_no_word(core: Core, link: Link) -> None:
    """Whether the end of its follow comes with the terminal event or behind it."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    done = Event(sequence=1, epoch=1, done=Done())
    await core.say(batch(owners[0], done, end=LinkEnd()), batch(owners[1], done))
    await core.say(batch(owners[1], end=LinkEnd()))
    for owner in owners:
        assert owner.told == ["first", "change"]
        owner.follow.close(Leave.ENDED)
    await settled()
    assert core.asked == ["hello", "follow", "follow"]


async def test_a_follow_that_can_not_be_served_is_refused_as_by_a_call(core: Core, link: Link) -> None:
    """Code, words, details and the time to wait; the sink is told nothing, not even that it begins."""
    owner = Owner(link)
    await core.welcome()
    details = {"reason": "TOO_MANY", "field": "run.session_id", "violation": "no", "retry_after_ms": "1500"}
    error = Error(code="RESOURCE_EXHAUSTED", message="As it is.", details=details)
    await core.say(batch(owner, end=LinkEnd(error=error)))
    assert owner.told == ["failed"]
    assert owner.sink.run_id == ""
    failure = owner.failures[0]
    assert (failure.code, failure.message, failure.retry_after_s) == ("RESOURCE_EXHAUSTED", "As it is.", 1.5)
    assert failure.details == {"reason": "TOO_MANY", "field": "sessionId", "violation": "no"}


async def test_a_follow_that_ends_before_its_run_has_failed(core: Core, link: Link) -> None:
    """It is followed again."""
    owner = Owner(link)
    await core.welcome()
    await core.say(batch(owner, delta(1), end=LinkEnd()))
    assert owner.told == ["first", "failed"]
    assert owner.failures[0].details == {"reason": "STREAM_ENDED_EARLY"}


async def test_controls_come_and_draining_is_for_the_edge(core: Core, link: Link) -> None:
    """The follow's own is told to its owner, the link's to who watches the core."""
    owner = Owner(link)
    await core.welcome()
    await core.say(batch(owner, control=Control(degraded=Degraded(message="away"))))
    await core.say(batch(owner, control=Control(draining=Draining())), draining=Draining())
    assert owner.sink.controls == ["degraded"]
    assert owner.told == ["first", "change"]
    assert core.drained == 1


async def test_a_sink_may_close_its_call_while_it_is_told(core: Core, link: Link) -> None:
    """Nothing more comes, neither events nor the end; no credit is given."""

    class Leaves(Reader):
        def event(self, epoch: int, sequence: int, event: Event) -> None:
            super().event(epoch, sequence, event)
            owner.reader.sink = None
            owner.follow.leave(lambda: None)

    owner = Owner(link, Leaves())
    await core.welcome()
    await core.say(batch(owner, delta(1), delta(2), size=BUDGET_BYTES, end=LinkEnd()))
    assert owner.sink.sequences == [1]
    assert owner.told == ["first"]
    assert core.asked == ["hello", "follow", "unfollow"]


async def test_heartbeats_are_written_and_a_silent_link_of_a_core_that_answers_is_given_up(
    core: Core, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a core that answers nothing is kept: it may come back."""
    monkeypatch.setattr(link_module, "HEARTBEAT_S", 0.001)
    core.answers = False
    owner = Owner(link)
    await core.welcome()
    async with asyncio.timeout(WITHIN_S):
        while core.asked.count("heartbeat") < 2 * link_module.SILENT_BEATS:
            await asyncio.sleep(0.001)
        assert owner.told == []
        core.answers = True
        while not owner.told:
            await asyncio.sleep(0.001)
    assert owner.told == ["failed"]
    assert link.is_usable


async def test_a_link_whose_hello_is_never_answered_is_not_used(
    core: Core, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a core that answers other calls: what stands between may not let streams pass."""
    monkeypatch.setattr(link_module, "HEARTBEAT_S", 0.001)
    owner = Owner(link)
    async with asyncio.timeout(WITHIN_S):
        while not owner.told:
            await asyncio.sleep(0.001)
    assert owner.told == ["refused"]
    assert not link.is_usable
    assert core.asked == ["hello"]


async def test_what_waits_is_written_before_the_link_is_closed(core: Core, link: Link) -> None:
    """That clients have left, above all."""
    owner = Owner(link)
    await core.welcome()
    owner.follow.leave(lambda: None)
    await link.aclose(WITHIN_S)
    assert core.asked == ["hello", "follow", "unfollow"]
