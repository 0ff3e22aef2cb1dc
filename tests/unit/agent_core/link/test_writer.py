"""What the writer of a link makes of what became ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from opentelemetry.trace import INVALID_SPAN

from agent_core.errors import CoreDrainingError
from agent_core.link import writer as writer_module
from agent_core.link.codec import MAX_MESSAGE_BYTES
from agent_core.link.follow import SLICE_BYTES, LinkFollow
from agent_core.link.writer import LinkWriter
from agent_core.refusals import Refusals
from agent_core.runs.follower import CaughtUp, Follower
from agent_core.runs.log.contract import LogAwayError, LogGoneError, Position
from tests.support.scripted_follower import RUN_ID, ScriptedFollower
from tokenwire.v1.event_pb2 import Event, TextDelta
from tokenwire.v1.link_pb2 import FollowCredit, LinkResponse

PLENTY = FollowCredit(events=1_000_000, bytes=1_000_000_000)
TURNS = 5
"""After so many turns of the loop all that can happen has."""


def event(sequence: int, size: int = 1) -> bytes:
    return Event(sequence=sequence, epoch=1, text_delta=TextDelta(content="x" * size)).SerializeToString()


def some(count: int, size: int = 1) -> list[bytes]:
    return [event(sequence, size) for sequence in range(1, count + 1)]


class Edge:
    """What a writer writes to."""

    def __init__(self) -> None:
        self.responses: list[LinkResponse] = []
        self.sizes: list[int] = []
        self.over: list[tuple[int, str]] = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.writer = LinkWriter(self.write, Refusals(), self.close)

    async def write(self, message: bytes) -> None:
        await self.may_write.wait()
        self.responses.append(LinkResponse.FromString(message))
        self.sizes.append(len(message))

    async def close(self, follow: LinkFollow, code: str) -> None:
        follow.is_closed = True
        self.over.append((follow.id, code))

    def follow(self, follow_id: int, follower: ScriptedFollower, credit: FollowCredit = PLENTY) -> LinkFollow:
        """Begin a follow."""
        made = LinkFollow(
            follow_id, "tokenwire.v1.AgentService/StreamRun", INVALID_SPAN, credit, self.writer.mark
        )
        made.follower = cast(Follower, follower)
        made.begin()
        return made

    def sequences(self, follow_id: int) -> list[int]:
        return [
            event.sequence
            for response in self.responses
            for batch in response.batches
            if batch.follow_id == follow_id
            for event in batch.events
        ]


async def turns(count: int = TURNS) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def writing() -> AsyncIterator[Edge]:
    """Have a writer at work."""
    edge = Edge()
    task = asyncio.create_task(edge.writer.run(lambda: False))
    await turns()
    try:
        yield edge
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_became_ready_in_one_turn_is_one_message() -> None:
    """However many follows have something; those that have nothing are not in it."""
    async with writing() as edge:
        followers = [ScriptedFollower(some(1)) for _ in range(100)]
        for number, follower in enumerate(followers):
            edge.follow(number, follower)
        edge.follow(100, ScriptedFollower())
        await turns()
        assert [len(response.batches) for response in edge.responses] == [100]
        assert {batch.run_id for batch in edge.responses[0].batches} == {RUN_ID}
        for follower in followers[:50]:
            follower.add(event(2))
        await turns()
        assert [len(response.batches) for response in edge.responses] == [100, 50]
        assert {batch.run_id for batch in edge.responses[1].batches} == {""}


async def test_nothing_is_written_where_there_is_nothing_to_say() -> None:
    """A follow that is told of something, and then has nothing."""
    async with writing() as edge:
        follower = ScriptedFollower()
        edge.follow(1, follower)
        await turns()
        follower.say()
        await turns()
        assert not edge.responses
        assert len(follower.polled) == 2


async def test_a_token_of_a_live_follow_is_polled_for_once() -> None:
    """That the log has no more is seen by what it has given."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        edge.follow(1, follower)
        await turns()
        before = len(follower.polled)
        follower.add(event(2))
        await turns()
        assert len(follower.polled) == before + 1


async def test_the_credit_bounds_what_is_polled_for() -> None:
    """In events and in bytes; the last event may take more bytes than are left, which later credit pays."""
    async with writing() as edge:
        size = len(event(1, 100))
        follower = ScriptedFollower(some(9, 100))
        follow = edge.follow(1, follower, FollowCredit(events=3, bytes=2 * size + 1))
        await turns()
        assert edge.sequences(1) == [1, 2, 3]
        assert (follow.events, follow.size_bytes) == (0, 1 - size)
        follow.add(FollowCredit(events=5, bytes=size - 1))
        await turns()
        assert edge.sequences(1) == [1, 2, 3], "0 bytes are left"
        follow.add(FollowCredit(bytes=1))
        await turns()
        assert edge.sequences(1) == [1, 2, 3, 4]
        follow.add(FollowCredit(bytes=100 * size))
        await turns()
        assert edge.sequences(1) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert all(events > 0 and size_bytes > 0 for events, size_bytes in follower.polled)


async def test_a_follow_without_credit_is_not_looked_at() -> None:
    """Whatever its run says: not until it may be sent to."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        follow = edge.follow(1, follower, FollowCredit())
        for sequence in range(2, 10):
            follower.add(event(sequence))
            await turns(1)
        assert not follower.polled
        follow.add(FollowCredit(events=100, bytes=1))
        await turns()
        assert edge.sequences(1) == [1]
        follow.add(FollowCredit(bytes=1_000))
        await turns()
        assert edge.sequences(1) == [*range(1, 10)]


async def test_an_event_larger_than_the_whole_credit_is_sent() -> None:
    """One that never fits would stop its run for good."""
    async with writing() as edge:
        edge.follow(1, ScriptedFollower([event(1, 5_000)]), FollowCredit(events=1, bytes=1))
        await turns()
        assert edge.sequences(1) == [1]


async def test_a_backlog_takes_turns_with_what_is_new() -> None:
    """A token of another follow waits for a slice of the backlog, not for all of it."""
    async with writing() as edge:
        edge.follow(1, ScriptedFollower(some(40, 60_000)))
        edge.follow(2, ScriptedFollower(some(1)))
        await turns(40)
        order = [batch.follow_id for response in edge.responses for batch in response.batches]
        assert order[:3] == [1, 2, 1]
        assert edge.sequences(1) == [*range(1, 41)]
        assert max(edge.sizes) <= MAX_MESSAGE_BYTES
        assert len(edge.responses) == 3, "2.4 MB"
        assert all(
            batch.event_bytes <= SLICE_BYTES for response in edge.responses for batch in response.batches
        )


async def test_a_batch_has_at_most_512_events() -> None:
    """However small they are."""
    async with writing() as edge:
        edge.follow(1, ScriptedFollower(some(1_200)))
        await turns()
        counts = [len(batch.events) for response in edge.responses for batch in response.batches]
        assert counts == [512, 512, 176]


async def test_one_large_event_goes_into_a_message_of_its_own() -> None:
    """A message never grows beyond 1 MiB, and nothing overtakes what had to wait."""
    async with writing() as edge:
        large = 900_000
        edge.follow(1, ScriptedFollower(some(4, 60_000)))
        edge.follow(2, ScriptedFollower([event(1, large), event(2)]))
        await turns(20)
        assert max(edge.sizes) <= MAX_MESSAGE_BYTES
        assert edge.sequences(1) == [1, 2, 3, 4]
        assert edge.sequences(2) == [1, 2]


async def test_the_end_comes_with_the_terminal_event() -> None:
    """In its batch; then the follow is over, and nothing of it is sent any more."""
    async with writing() as edge:
        follower = ScriptedFollower(some(2))
        edge.follow(7, follower)
        await turns()
        assert not edge.over
        follower.add(event(3), complete=True)
        await turns()
        last = edge.responses[-1].batches[-1]
        assert [told.sequence for told in last.events] == [3]
        assert last.HasField("end")
        assert not last.end.HasField("error")
        assert edge.over == [(7, "OK")]


async def test_a_control_comes_between_events() -> None:
    """In its place; caught_up comes in the turn in which the replay met the live end."""
    async with writing() as edge:
        follower = ScriptedFollower(some(2))
        follower.controls.append(CaughtUp(Position(1, 0)))
        edge.follow(1, follower)
        await turns()
        kinds = [batch.control.WhichOneof("control") for batch in edge.responses[0].batches]
        assert kinds == ["caught_up", None]


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (RuntimeError("a bug"), "INTERNAL", "CORE_FAILED"),
        (LogGoneError(), "NOT_FOUND", "RUN_UNKNOWN"),
        (LogAwayError("down"), "UNAVAILABLE", "LOG_AWAY"),
        (CoreDrainingError(), "UNAVAILABLE", "CORE_DRAINING"),
    ],
)
async def test_what_fails_in_one_follow_ends_that_one_alone(
    failure: Exception, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with a trace id that the log has, and the others go on."""
    caplog.set_level(logging.INFO)
    async with writing() as edge:
        failing, other = ScriptedFollower(some(1)), ScriptedFollower(some(1))
        failing.failure = failure
        edge.follow(1, failing)
        edge.follow(2, other)
        await turns()
        (end,) = [batch for batch in edge.responses[0].batches if batch.follow_id == 1]
        assert (end.end.error.code, end.end.error.details["reason"]) == (code, reason)
        assert end.end.error.trace_id in caplog.text
        assert edge.over == [(1, code)]
        assert edge.sequences(2) == [1]
        failing.say()
        other.add(event(2))
        await turns()
        assert edge.sequences(2) == [1, 2]
        assert len(failing.polled) == 1


async def test_what_is_not_in_memory_is_read_beside() -> None:
    """A task reads the store; meanwhile the others are served, and the follow is not polled again."""
    async with writing() as edge:
        behind, other = ScriptedFollower(some(3)), ScriptedFollower(some(1))
        behind.is_away = True
        follow = edge.follow(1, behind, FollowCredit(events=2, bytes=1_000))
        edge.follow(2, other)
        await turns()
        assert edge.sequences(2) == [1]
        assert edge.sequences(1) == [1, 2]
        assert len(behind.polled) == 1
        assert follow.reading is None
        follow.add(FollowCredit(events=1))
        await turns()
        assert edge.sequences(1) == [1, 2, 3]


async def test_what_fails_to_be_read_ends_the_follow() -> None:
    """The store said no, and not to this loop."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        follower.is_away = True

        async def fails(*_: Any) -> None:
            raise LogGoneError

        follower.next = fails  # type: ignore[method-assign,assignment]
        edge.follow(1, follower)
        await turns()
        assert edge.responses[0].batches[0].end.error.code == "NOT_FOUND"


async def test_a_slow_edge_is_waited_for_and_finds_all_in_one_message() -> None:
    """What comes while a message is on its way is not sent piece by piece afterwards."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        edge.follow(1, follower)
        edge.may_write.clear()
        await turns()
        for sequence in range(2, 50):
            follower.add(event(sequence))
            await turns(1)
        edge.may_write.set()
        await turns()
        assert len(edge.responses) == 2
        assert edge.sequences(1) == [*range(1, 50)]


async def test_a_heartbeat_is_sent_where_nothing_else_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty message; none where there was another one since the beat before."""
    now = 0
    monkeypatch.setattr(writer_module, "monotonic_nano", lambda: now)
    async with writing() as edge:
        now = 1_000_000_000
        edge.writer.beat(1.0)
        await turns()
        assert [len(response.batches) for response in edge.responses] == [0]
        now = 1_700_000_000
        edge.follow(1, ScriptedFollower(some(1)))
        await turns()
        now = 2_000_000_000
        edge.writer.beat(1.0)
        await turns()
        assert [len(response.batches) for response in edge.responses] == [0, 1]
        now = 3_000_000_000
        edge.writer.beat(1.0)
        await turns()
        assert [len(response.batches) for response in edge.responses] == [0, 1, 0]


async def test_a_loop_that_stood_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it stood since the message before, where that is worth a word."""
    lags = iter([0, 9_000_000, 50_000_000])

    class Lag:
        def lag_within(self, *_: int) -> int:
            return next(lags)

    monkeypatch.setattr(writer_module, "loop_lag", Lag)
    async with writing() as edge:
        follower = ScriptedFollower()
        edge.follow(1, follower)
        for sequence in range(1, 4):
            follower.add(event(sequence))
            await turns()
        assert [response.clock.loop_lag_nano for response in edge.responses] == [0, 0, 50_000_000]


async def test_that_the_core_goes_down_is_told_once() -> None:
    """With whatever is ready."""
    async with writing() as edge:
        edge.follow(1, ScriptedFollower(some(1)))
        edge.writer.drain()
        await turns()
        edge.follow(2, ScriptedFollower(some(1)))
        await turns()
        assert [response.HasField("draining") for response in edge.responses] == [True, False]


async def test_no_more_is_read_while_too_much_waits() -> None:
    """Neither refusals nor follows that have ended pile up for an edge that does not read."""
    async with writing() as edge:
        edge.may_write.clear()
        edge.writer.say(b"")
        await turns()
        for _ in range(writer_module.MAX_WAITING - 1):
            edge.writer.say(b"")
        assert await waits(edge.writer.room()) is False
        follow = edge.follow(1, ScriptedFollower(some(1)))
        follow.is_over = follow.is_closed = True
        edge.writer.skips()
        assert await waits(edge.writer.room()) is True
        edge.may_write.set()
        await turns()
        assert await waits(edge.writer.room()) is False


async def waits(room: Any) -> bool:
    """Return whether something is not done at once."""
    task = asyncio.ensure_future(room)
    await turns()
    if task.done():
        return False
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return True


async def test_it_ends_when_there_is_nothing_left_to_say() -> None:
    """What is ready is sent before."""
    edge = Edge()
    finished = False
    task = asyncio.create_task(edge.writer.run(lambda: finished))
    edge.follow(1, ScriptedFollower(some(1)))
    finished = True
    edge.writer.wake()
    await asyncio.wait_for(task, 10)
    assert edge.sequences(1) == [1]
