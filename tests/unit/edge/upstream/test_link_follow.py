"""One run over a link: its credit, its end, and how its client leaves."""

from __future__ import annotations

import grpc
import pytest

from edge.upstream.contract import Leave
from edge.upstream.link import Link
from edge.upstream.link_follow import WINDOW_EVENTS
from tests.support.fake_link import BUDGET_BYTES, LinkCore, Owner, batch, core, delta, error_of, link, settled
from tests.support.upstream import Reader
from tokenwire.v1 import link_pb2
from tokenwire.v1.event_pb2 import Done, Error, Event
from tokenwire.v1.link_pb2 import LinkEnd
from tokenwire.v1.stream_pb2 import Control, Degraded, Draining

__all__ = ["core", "link"]


@pytest.mark.parametrize(("count", "size"), [(WINDOW_EVENTS // 2, 1), (3, BUDGET_BYTES // 5)])
async def test_credit_is_renewed_when_more_than_half_is_used(
    core: LinkCore, link: Link, count: int, size: int
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


async def test_a_sink_that_is_full_gets_credit_once_it_has_room(core: LinkCore, link: Link) -> None:
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


async def test_leaving_is_told_in_one_step(core: LinkCore, link: Link) -> None:
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


async def test_leaving_that_the_link_could_not_tell_is_told_otherwise(core: LinkCore, link: Link) -> None:
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
async def test_why_a_follow_is_closed_is_told(core: LinkCore, link: Link, reason: Leave, told: int) -> None:
    """Once."""
    owner = Owner(link)
    await core.welcome()
    owner.follow.close(reason)
    owner.follow.close(reason)
    await settled()
    assert core.asked == ["hello", "follow", "unfollow"]
    assert core.written[-1].unfollow.reason == told


async def test_a_run_that_has_ended_needs_no_word(core: LinkCore, link: Link) -> None:
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


async def test_a_follow_that_can_not_be_served_is_refused_as_by_a_call(core: LinkCore, link: Link) -> None:
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


async def test_a_follow_that_ends_before_its_run_has_failed(core: LinkCore, link: Link) -> None:
    """It is followed again."""
    owner = Owner(link)
    await core.welcome()
    await core.say(batch(owner, delta(1), end=LinkEnd()))
    assert owner.told == ["first", "failed"]
    assert owner.failures[0].details == {"reason": "STREAM_ENDED_EARLY"}


async def test_controls_come_and_draining_is_for_the_edge(core: LinkCore, link: Link) -> None:
    """The follow's own is told to its owner, the link's to who watches the core."""
    owner = Owner(link)
    await core.welcome()
    await core.say(batch(owner, control=Control(degraded=Degraded(message="away"))))
    await core.say(batch(owner, control=Control(draining=Draining())), draining=Draining())
    assert owner.sink.controls == ["degraded"]
    assert owner.told == ["first", "change"]
    assert core.drained == 1


async def test_a_sink_may_close_its_call_while_it_is_told(core: LinkCore, link: Link) -> None:
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
