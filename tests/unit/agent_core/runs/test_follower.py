"""Where a reader begins, and what it is told."""

from collections.abc import Callable

import pytest

from agent_core.log.contract import Batch, Position, RunInfo
from agent_core.log.outcome import Outcome
from agent_core.runs.follower import NOT_HERE, CaughtUp, Draining, Follower, OpenTail, Resync, start_of
from tests.support.stores import record

FIRST, LAST = Position(1, 11), Position(2, 20)
TRIMMED = RunInfo(record(), FIRST, LAST)


@pytest.mark.parametrize(
    ("after", "start", "reason"),
    [
        (Position(1, 0), Position(1, 10), "trimmed"),
        (Position(1, 9), Position(1, 10), "trimmed"),
        (Position(1, 10), Position(1, 10), None),
        (Position(1, 15), Position(1, 15), None),
        (Position(2, 20), Position(2, 20), None),
        (Position(1, 20), Position(1, 10), "ahead"),
        (Position(2, 21), Position(1, 10), "ahead"),
        (Position(1, 21), Position(1, 10), "ahead"),
        (Position(3, 1), Position(1, 10), "ahead"),
    ],
)
def test_a_cursor_outside_the_log_begins_at_its_first_event(
    after: Position, start: Position, reason: str | None
) -> None:
    """And never in silence."""
    expected = None if reason is None else Resync(FIRST, LAST, reason)
    assert start_of(TRIMMED, after) == (start, expected)


class ListTail:
    """A tail that gives prepared batches."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)
        self.closed = False

    async def next(self) -> Batch:
        return self.batches.pop(0)

    def poll(self, *_: int | None) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def notify(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def interrupt(self) -> None:
        self.batches.insert(0, Batch(21, [], False, LAST))

    async def aclose(self) -> None:
        self.closed = True


async def never(position: Position) -> OpenTail:
    raise AssertionError(f"opened again at {position}")


def opened(tail: ListTail, info: RunInfo) -> OpenTail:
    return OpenTail(tail, info, start_of(info, Position(1, 0)))


async def test_what_is_said_between_events_comes_in_order() -> None:
    """Resync first, then the replay, caught_up once, draining when it is due, and the end."""
    replay = Batch(11, [b""] * 10, False, LAST)
    tail = ListTail(replay, Batch(21, [], True, LAST))
    gone: list[Follower] = []
    start = start_of(TRIMMED, Position(1, 0))
    follower = Follower(
        OpenTail(tail, TRIMMED, start), reopen=never, say_caught_up=True, on_close=gone.append
    )
    assert await follower.next() == start[1]
    assert await follower.next() == replay
    assert type(await follower.next()).__name__ == "CaughtUp"
    follower.drain()
    assert type(await follower.next()).__name__ == "Draining"
    assert not follower.finished
    assert await follower.next() is None
    assert follower.finished
    assert await follower.next() is None
    await follower.aclose()
    assert tail.closed
    assert gone == [follower]


async def test_a_follower_that_was_overtaken_by_the_trimming_is_told_before_it_goes_on() -> None:
    """And has not finished before it was given the terminal event."""
    info = RunInfo(record(), Position(1, 1), Position(1, 1))
    rest = Batch(7, [b"", b""], True, Position(1, 8))
    tail = ListTail(Batch(1, [b""], False, Position(1, 1)), rest)
    follower = Follower(opened(tail, info), reopen=never, say_caught_up=False, on_close=id)
    assert isinstance(await follower.next(), Batch)
    assert await follower.next() == Resync(Position(1, 7), Position(1, 8), "trimmed")
    assert not follower.finished
    assert await follower.next() == rest
    assert follower.finished


async def test_an_ended_run_is_never_caught_up_with() -> None:
    """It has no live end."""
    info = RunInfo(record(), Position(1, 1), Position(1, 1), Outcome("done", "stop"))
    tail = ListTail(Batch(1, [b""], True, Position(1, 1)))
    follower = Follower(opened(tail, info), reopen=never, say_caught_up=True, on_close=id)
    assert isinstance(await follower.next(), Batch)
    assert await follower.next() is None


async def test_polling_tells_the_same_in_the_same_order() -> None:
    """Until nothing is to be told, and then until all was."""
    tail = ListTail(Batch(11, [b""] * 10, False, LAST), Batch(21, [], False, LAST), Batch(21, [], True, LAST))
    start = start_of(TRIMMED, Position(1, 0))
    follower = Follower(OpenTail(tail, TRIMMED, start), reopen=never, say_caught_up=True, on_close=id)
    assert follower.poll() == start[1]
    assert follower.poll() == Batch(11, [b""] * 10, False, LAST)
    assert follower.poll() == CaughtUp(LAST)
    assert follower.poll() is None
    assert not follower.finished
    assert follower.poll() is None
    assert follower.finished
    assert follower.poll() is None


async def test_who_has_room_for_no_event_is_told_controls_only() -> None:
    """And who has room for a few gets no more, also of what was held behind a resync."""
    info = RunInfo(record(), Position(1, 1), Position(1, 1))
    tail = ListTail(Batch(7, [b"7", b"8", b"9"], True, Position(1, 9)))
    follower = Follower(opened(tail, info), reopen=never, say_caught_up=False, on_close=id)
    follower.drain()
    tail.batches.pop(0)  # what an interruption makes of this tail
    assert follower.poll(0) == Draining()
    assert follower.poll(0) is None
    assert follower.poll(2) == Resync(Position(1, 7), Position(1, 9), "trimmed")
    assert follower.poll(0) is None
    assert follower.poll(2, 1) == Batch(7, [b"7"], False, Position(1, 9))
    assert await follower.next(1) == Batch(8, [b"8"], False, Position(1, 9))
    assert not follower.finished
    assert follower.poll(2) == Batch(9, [b"9"], True, Position(1, 9))
    assert follower.finished


async def test_a_poll_that_needs_the_store_says_so() -> None:
    """Where memory has not got what comes next, and where the log has lost what the reader has."""
    info = RunInfo(record(), Position(1, 1), Position(1, 3))
    lost = Batch(4, [], True, Position(2, 2))
    tail, again = ListTail(), ListTail(Batch(1, [b"1", b"2"], True, Position(2, 2)))
    told: list[str] = []

    async def reopen(after: Position) -> OpenTail:
        return OpenTail(again, info, start_of(RunInfo(record(), Position(1, 1), Position(2, 2)), after))

    begins = OpenTail(tail, info, (Position(1, 3), None))
    follower = Follower(begins, reopen=reopen, say_caught_up=False, on_close=id)
    follower.notify(lambda: told.append("news"))
    assert follower.poll() is NOT_HERE
    tail.batches.append(lost)
    assert follower.poll() is NOT_HERE
    assert await follower.next() == Resync(Position(1, 1), Position(2, 2), "ahead")
    assert tail.closed
    assert again.callback is tail.callback, "the new tail tells nobody"
    assert follower.poll() == Batch(1, [b"1", b"2"], True, Position(2, 2))
    assert follower.finished
