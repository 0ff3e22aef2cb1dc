"""The link to one core, without the core: what it writes, and whom it hands what comes."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from edge.upstream import link as link_module
from edge.upstream.contract import Leave
from edge.upstream.link import Link
from edge.upstream.link_follow import WINDOW_EVENTS
from tests.support.fake_link import BUDGET_BYTES, LinkCore, Owner, batch, core, delta, error_of, link, settled
from tests.support.upstream import WITHIN_S, Reader
from tokenwire.v1.event_pb2 import Event, TextDelta

__all__ = ["core", "link"]


async def test_nothing_but_the_hello_is_written_before_the_core_has_answered_it(
    core: LinkCore, link: Link
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


async def test_each_follow_is_told_what_is_its_own(core: LinkCore, link: Link) -> None:
    """And that something comes, once; what comes for one that has gone is dropped."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1)), batch(owners[1], delta(1), delta(2)))
    owners[0].follow.close(Leave.BROKEN)
    await core.say(batch(owners[0], delta(2)), batch(owners[1], delta(3)))
    assert [owner.sink.sequences for owner in owners] == [[1], [1, 2, 3]]
    assert [owner.told for owner in owners] == [["first"], ["first"]]


async def test_a_sink_that_raises_ends_its_own_stream_alone(core: LinkCore, link: Link) -> None:
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


async def test_a_missing_event_ends_a_follow_alone(core: LinkCore, link: Link) -> None:
    """Its owner follows again from where it is."""
    owners = [Owner(link), Owner(link)]
    await core.welcome()
    await core.say(batch(owners[0], delta(1), delta(3)), batch(owners[1], delta(1)))
    assert owners[0].failures[0].details["reason"] == "SEQUENCE_GAP"
    assert core.asked[-1] == "unfollow"
    assert owners[1].sink.sequences == [1]


async def test_each_follow_learns_of_all_that_held_the_core_up(core: LinkCore, link: Link) -> None:
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


async def test_a_link_that_breaks_is_opened_again_for_whoever_needs_it(core: LinkCore, link: Link) -> None:
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


async def test_a_link_that_ends_in_good_order_has_broken_its_follows(core: LinkCore, link: Link) -> None:
    """Their runs have not ended."""
    owner = Owner(link)
    await core.welcome()
    core.end(grpc.aio.EOF)
    await settled()
    assert owner.failures[0].details == {"reason": "STREAM_ENDED_EARLY"}


async def test_what_can_not_be_read_breaks_the_link(
    core: LinkCore, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    """And is logged: no follow hangs."""
    owner = Owner(link)
    await core.welcome()
    core.end(b"\xff\xff")
    await settled()
    assert owner.failures[0].code == "UNAVAILABLE"
    assert "reading the link to core:1 failed" in caplog.text


async def test_a_core_without_a_link_is_asked_otherwise(core: LinkCore, link: Link) -> None:
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
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY"),
        (grpc.StatusCode.UNAUTHENTICATED, ""),
        (grpc.StatusCode.INTERNAL, ""),  # what grpc.aio makes of a refusal that the hello crosses
    ],
)
async def test_a_link_that_is_refused_is_tried_again_later(
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode, reason: str
) -> None:
    """Meanwhile calls are used, which say what is wrong."""
    owner = Owner(link)
    await settled()
    core.end(error_of(code, reason))
    await settled()
    assert owner.told == ["refused"]
    assert not link.is_usable
    for name in ("REFUSED_S", "UNSAID_S"):
        monkeypatch.setattr(link_module, name, 0.0)
    link.retry()
    owner = Owner(link)
    await settled()
    core.end(error_of(code, reason))
    await settled()
    assert link.is_usable


async def test_a_core_that_can_not_be_reached_has_refused_nothing(core: LinkCore, link: Link) -> None:
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


async def test_heartbeats_are_written_and_a_silent_link_of_a_core_that_answers_is_given_up(
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch
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
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch
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


async def test_what_waits_is_written_before_the_link_is_closed(core: LinkCore, link: Link) -> None:
    """That clients have left, above all."""
    owner = Owner(link)
    await core.welcome()
    owner.follow.leave(lambda: None)
    await link.aclose(WITHIN_S)
    assert core.asked == ["hello", "follow", "unfollow"]


async def test_a_large_message_leaves_others_their_turns(core: LinkCore, link: Link) -> None:
    """The backlogs of many streams; what held the core up is told each of them once."""
    owners = [Owner(link) for _ in range(3)]
    await core.welcome()
    turns: list[int] = []

    async def take_turns() -> None:
        while len(turns) < 20:
            turns.append(sum(len(owner.sink.sequences) for owner in owners))
            await asyncio.sleep(0)

    text = "a" * (link_module.PART_BYTES // 2)
    events = [Event(sequence=n, epoch=1, text_delta=TextDelta(content=text)) for n in (1, 2)]
    taking = asyncio.create_task(take_turns())
    await core.say(*(batch(owner, *events, size=len(text)) for owner in owners), lag=50)
    await taking
    assert {0, 2, 4, 6} == set(turns)
    await core.say(*(batch(owner, delta(3)) for owner in owners))
    lags = [[clock.loop_lag_nano for clock in owner.sink.clocks] for owner in owners]
    assert lags == [[50, 0]] * 3


async def test_a_silent_link_of_a_silent_core_has_its_connection_doubted(
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the first missing heartbeat, and not where anything comes; the link stays as it is."""
    monkeypatch.setattr(link_module, "HEARTBEAT_S", 0.001)
    core.answers = False
    owner = Owner(link)
    await core.welcome()
    beats = link_module.DOUBT_BEATS
    async with asyncio.timeout(WITHIN_S):
        while core.asked.count("heartbeat") < 4 * beats:
            await core.say()
            await asyncio.sleep(0.001)
        before, said = core.doubts, core.asked.count("heartbeat")
        while core.doubts < before + 3:
            await asyncio.sleep(0.001)
    assert before <= 4, "it is not doubted while the core says something"
    assert core.asked.count("heartbeat") - said >= 2 * beats
    assert owner.told == []


async def test_after_what_can_not_be_read_each_stream_takes_a_call_of_its_own(
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while: it would come again with the next follow of its run, and take all others with it."""
    Owner(link)
    await core.welcome()
    core.end(b"\xff\xff")
    await settled()
    assert not link.is_usable
    monkeypatch.setattr(link_module, "REFUSED_S", 0.0)
    link.retry()
    Owner(link)
    await core.welcome()
    core.end(b"\xff\xff")
    await settled()
    assert link.is_usable


async def test_a_link_that_can_not_be_written_breaks(
    core: LinkCore, link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Mute, it would take requests and ask nothing: its follows would wait for ever."""

    async def fails(_: object) -> None:
        raise RuntimeError("it is broken")

    owner = Owner(link)
    await core.welcome()
    monkeypatch.setattr(core, "write", fails)
    owner.follow.close(Leave.LEFT)
    late = Owner(link)
    await settled()
    assert late.told == ["failed"]
    assert "writing to the link to core:1 failed" in caplog.text


async def test_a_budget_beyond_any_credit_is_cut_to_the_largest(core: LinkCore) -> None:
    """A credit has 32 bits, and has to pay for what the last event took too much."""
    peer = link_module.LinkPeer("core:1", core.connect, bool, core.doubt, core.drains)  # type: ignore[arg-type]
    owner = Owner(Link(peer, 2**40))
    assert owner.follow.first_credit().bytes == link_module.MAX_CREDIT_BYTES
    owner.follow.bytes_left = -link_module.MAX_CREDIT_BYTES // 2
    owner.follow.resume()
