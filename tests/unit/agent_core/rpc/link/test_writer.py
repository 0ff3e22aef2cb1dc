"""What the writer of a link makes of what became ready."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agent_core.errors import CoreDrainingError
from agent_core.log.errors import LogAwayError, LogGoneError
from agent_core.log.position import Position
from agent_core.rpc.link import writer as writer_module
from agent_core.rpc.link.codec import MAX_MESSAGE_BYTES
from agent_core.rpc.link.follow import SLICE_BYTES
from agent_core.runs.follower import CaughtUp
from tests.support.scripted_follower import RUN_ID, ScriptedFollower
from tests.support.scripted_link import Edge, event, some, turns, writing


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


async def test_a_backlog_of_a_live_follow_is_sent_without_another_word() -> None:
    """More than fits into one batch, while a message was on its way."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        edge.follow(1, follower)
        await turns()
        edge.may_write.clear()
        follower.add(event(2))
        await turns()
        follower.add(*(event(sequence) for sequence in range(3, 1_500)))
        edge.may_write.set()
        await turns()
        assert edge.sequences(1) == [*range(1, 1_500)]


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
        edge.writer.enqueue(b"")
        await turns()
        for _ in range(writer_module.MAX_WAITING - 1):
            edge.writer.enqueue(b"")
        assert await waits(edge.writer.wait_for_room()) is False
        follow = edge.follow(1, ScriptedFollower(some(1)))
        follow.is_over = follow.is_closed = True
        edge.writer.count_ended()
        assert await waits(edge.writer.wait_for_room()) is True
        edge.may_write.set()
        await turns()
        assert await waits(edge.writer.wait_for_room()) is False


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
