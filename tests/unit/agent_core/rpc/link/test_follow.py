"""The credit of one follow of a link, and where it reads."""

from __future__ import annotations

from typing import Any

from agent_core.log.contract import LogGoneError, Position
from agent_core.runs.follower import Resync
from tests.support.scripted_follower import ScriptedFollower
from tests.support.scripted_link import event, some, turns, writing
from tokenwire.v1.link_pb2 import FollowCredit


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


async def test_a_batch_has_at_most_512_events() -> None:
    """However small they are."""
    async with writing() as edge:
        edge.follow(1, ScriptedFollower(some(1_200)))
        await turns()
        counts = [len(batch.events) for response in edge.responses for batch in response.batches]
        assert counts == [512, 512, 176]


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


async def test_what_comes_while_the_store_is_read_is_sent_though_nothing_else_happens() -> None:
    """Of a follow that was live, and has fallen behind what is in memory: what it read may be old by then."""
    async with writing() as edge:
        follower = ScriptedFollower(some(1))
        follow = edge.follow(1, follower, FollowCredit(events=2, bytes=1_000))
        await turns()
        follow.take(2, 0)
        follower.add(event(2), event(3))
        read = follower.next

        async def reads_slowly(*limits: int) -> Any:
            given = await read(*limits)
            follower.add(event(4), complete=True)
            return given

        follower.next = reads_slowly  # type: ignore[method-assign]
        follower.is_away = True
        follow.add(FollowCredit(events=10))
        await turns()
        assert edge.sequences(1) == [1, 2, 3, 4]
        assert edge.over == [(1, "OK")]


async def test_what_comes_behind_a_resync_is_sent_though_nothing_else_happens() -> None:
    """The follower has kept what it goes on with since then, which may be old."""

    class Resyncs(ScriptedFollower):
        kept: Any = None

        def poll(self, max_events: int, max_bytes: int) -> Any:
            given, self.kept = self.kept, None
            if given is not None or not self.controls:
                return given or super().poll(max_events, max_bytes)
            control = self.controls.pop()
            self.kept = super().poll(max_events, max_bytes)
            self.add(event(3), complete=True)
            return control

    async with writing() as edge:
        follower = Resyncs(some(1))
        edge.follow(1, follower)
        await turns()
        follower.controls.append(Resync(Position(1, 2), Position(1, 2), "trimmed"))
        follower.add(event(2))
        await turns()
        assert edge.sequences(1) == [1, 2, 3]
        assert edge.over == [(1, "OK")]
