"""Where a reader begins, and what it is told."""

import pytest

from agent_core.runs.follower import Follower, Opened, Resync, start_of
from agent_core.runs.log.contract import Batch, Entry, Position, RunInfo
from agent_core.runs.outcome import Outcome
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

    def interrupt(self) -> None:
        self.batches.insert(0, Batch([], False, LAST))

    async def aclose(self) -> None:
        self.closed = True


async def never(position: Position) -> Opened:
    raise AssertionError(f"opened again at {position}")


def opened(tail: ListTail, info: RunInfo) -> Opened:
    return Opened(tail, info, start_of(info, Position(1, 0)))


async def test_what_is_said_between_events_comes_in_order() -> None:
    """Resync first, then the replay, caught_up once, draining when it is due, and the end."""
    replay = Batch([Entry(1, sequence, b"") for sequence in range(11, 20)] + [Entry(2, 20, b"")], False, LAST)
    tail = ListTail(replay, Batch([], True, LAST))
    gone: list[Follower] = []
    start = start_of(TRIMMED, Position(1, 0))
    follower = Follower(Opened(tail, TRIMMED, start), reopen=never, say_caught_up=True, on_close=gone.append)
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
    rest = Batch([Entry(1, 7, b""), Entry(1, 8, b"")], True, Position(1, 8))
    tail = ListTail(Batch([Entry(1, 1, b"")], False, Position(1, 1)), rest)
    follower = Follower(opened(tail, info), reopen=never, say_caught_up=False, on_close=id)
    assert isinstance(await follower.next(), Batch)
    assert await follower.next() == Resync(Position(1, 7), Position(1, 8), "trimmed")
    assert not follower.finished
    assert await follower.next() == rest
    assert follower.finished


async def test_an_ended_run_is_never_caught_up_with() -> None:
    """It has no live end."""
    info = RunInfo(record(), Position(1, 1), Position(1, 1), Outcome("done", "stop"))
    tail = ListTail(Batch([Entry(1, 1, b"")], True, LAST))
    follower = Follower(opened(tail, info), reopen=never, say_caught_up=True, on_close=id)
    assert isinstance(await follower.next(), Batch)
    assert await follower.next() is None
