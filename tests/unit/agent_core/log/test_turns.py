"""What all runs submit in one turn of the event loop."""

from __future__ import annotations

import asyncio

import pytest

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.errors import LogAwayError
from agent_core.log.records import Exchange
from agent_core.log.turns import MAX_TURN_BYTES, Turns
from tests.support.stores import STOP, WAKE_S

OK = Appended(AppendStatus.OK)
FENCED = Appended(AppendStatus.FENCED)


class Store:
    """Takes turns down, and answers when the test says so."""

    def __init__(self, **options: int) -> None:
        self.turns = Turns(self.write, **options)  # type: ignore[arg-type] # the durations' is not among them
        self.written: list[list[str]] = []
        """The runs of each turn."""
        self.answers: list[tuple[str, Appended | Exception]] = []
        """What became of whose append, in order."""

    def write(self, appends: list[Append]) -> None:
        self.written.append([append.run_id for append in appends])

    def submit(self, *run_ids: str, size_bytes: int = 1) -> None:
        for run_id in run_ids:
            append = Append(run_id, 1, 1, (bytes(size_bytes),))
            self.turns.submit(append, lambda answer, run_id=run_id: self.answers.append((run_id, answer)))

    def accept(self) -> None:
        """Answer the oldest turn."""
        turn = self.written[-len(self.turns._under_way)]
        self.turns.answered([OK] * len(turn))


async def turn() -> None:
    """Let the loop have a turn."""
    await asyncio.sleep(0)


async def test_what_is_submitted_in_a_turn_is_written_together() -> None:
    """At the turn's end, once, whoever submitted it; and answered together, each with its own answer."""
    store = Store()
    store.submit("a", "b")
    asyncio.get_running_loop().call_soon(store.submit, "late")
    store.submit("c")
    assert store.written == []
    await turn()
    assert store.written == [["a", "b", "c"]]
    store.turns.answered([OK, FENCED, OK])
    assert store.answers == [("a", OK), ("b", FENCED), ("c", OK)]
    await turn()
    assert store.written[1:] == [["late"]]


async def test_what_comes_while_a_turn_is_written_is_the_next_one() -> None:
    """As one, however many turns of the loop it came in; what the answers bring goes with it."""
    store = Store()
    store.turns.submit(Append("a", 1, 1, (b"1",)), lambda _: store.submit("a again"))
    await turn()
    for run_id in ("b", "c", "d"):
        store.submit(run_id)
        await turn()
    assert store.written == [["a"]]
    store.accept()
    assert store.written == [["a"]]
    await turn()
    assert store.written == [["a"], ["b", "c", "d", "a again"]]


async def test_a_thousand_runs_are_one_turn() -> None:
    """However many there are, the store is asked once."""
    store = Store()
    store.submit(*map(str, range(1_000)))
    await turn()
    assert len(store.written) == 1
    store.accept()
    assert store.answers == [(str(number), OK) for number in range(1_000)]


async def test_a_turn_is_bounded_and_nothing_is_overtaken() -> None:
    """A huge append goes alone, and those before and after it are kept waiting by one turn at most."""
    store = Store()
    store.submit("small")
    store.submit("huge", size_bytes=2 * MAX_TURN_BYTES)
    store.submit("after", "it")
    for written in (["small"], ["huge"], ["after", "it"]):
        await turn()
        assert store.written[-1] == written
        store.accept()
    assert [run_id for run_id, _ in store.answers] == ["small", "huge", "after", "it"]


async def test_what_a_session_is_to_remember_counts() -> None:
    """It may be longer than the events that go with it."""
    store = Store(max_bytes=100)
    exchange = Exchange("é" * 30, "a" * 60)
    store.turns.submit(Append("a", 1, 1, (b"1", b"2"), End(STOP, exchange)), lambda _: None)
    store.turns.submit(Append("b", 1, 1, (b"1",), End(STOP)), lambda _: None)
    await turn()
    assert store.written == [["a"]]


async def test_a_lost_turn_is_lost_for_all_its_runs_and_no_others() -> None:
    """They submit again; what waits for the next turn is written in it."""
    store = Store()
    store.submit("a", "b")
    await turn()
    store.submit("c")
    away = LogAwayError("connection lost")
    store.turns.answered(away)
    assert store.answers == [("a", away), ("b", away)]
    await turn()
    assert store.written == [["a", "b"], ["c"]]


async def test_more_than_one_turn_may_be_under_way() -> None:
    """Where a store is far away; they are answered in order."""
    store = Store(max_under_way=2)
    for run_id in ("a", "b", "c", "d"):
        store.submit(run_id)
        await turn()
    assert store.written == [["a"], ["b"]]
    store.turns.answered([OK])
    assert store.answers == [("a", OK)]
    await turn()
    assert store.written == [["a"], ["b"], ["c", "d"]]
    store.turns.answered([FENCED])
    assert store.answers[1:] == [("b", FENCED)]


async def test_what_exceeds_one_turn_is_under_way_with_it_where_the_store_takes_more() -> None:
    """It does not wait for an answer that it does not need."""
    store = Store(max_under_way=2, max_bytes=10)
    store.submit("a", "b", "c", size_bytes=10)
    await turn()
    await turn()
    assert store.written == [["a"], ["b"]]


async def test_a_run_that_can_not_take_its_answer_keeps_no_other_from_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is a bug, and logged as one."""
    store = Store()
    store.turns.submit(Append("a", 1, 1, (b"1",)), lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    store.submit("b")
    await turn()
    store.turns.answered([OK, OK])
    assert store.answers == [("b", OK)]
    assert "bug of the core" in caplog.text


async def test_a_store_that_can_not_begin_a_turn_fails_it() -> None:
    """Its runs would wait for ever; the next turn has its chance."""
    store = Store()
    bug = ZeroDivisionError()
    broken = [bug]

    def write(appends: list[Append]) -> None:
        if broken:
            raise broken.pop()
        store.write(appends)

    store.turns = Turns(write)
    store.submit("a")
    await turn()
    assert store.answers == [("a", bug)]
    store.submit("b")
    await turn()
    assert store.written == [["b"]]


async def test_a_store_that_answers_too_little_fails_the_turn() -> None:
    """Otherwise the runs at its end would wait for ever."""
    store = Store()
    store.submit("a", "b")
    await turn()
    store.turns.answered([OK])
    assert [(run_id, type(answer)) for run_id, answer in store.answers] == [
        ("a", RuntimeError),
        ("b", RuntimeError),
    ]


async def test_each_append_may_fail_by_itself() -> None:
    """One bad run takes no other one of its turn with it."""
    store = Store()
    bug = ValueError("bad run")
    store.submit("a", "b")
    await turn()
    store.turns.answered([bug, OK])
    assert store.answers == [("a", bug), ("b", OK)]


async def test_a_store_may_answer_before_it_returns() -> None:
    """What comes of the answers is the next turn all the same; and a failure after them changes nothing."""
    store = Store()

    def write(appends: list[Append]) -> None:
        store.write(appends)
        store.turns.answered([OK] * len(appends))
        raise ZeroDivisionError

    store.turns = Turns(write)
    store.turns.submit(Append("a", 1, 1, (b"1",)), lambda _: store.submit("b", "c"))
    await turn()
    await turn()
    assert store.written == [["a"], ["b", "c"]]
    assert store.answers == [("b", OK), ("c", OK)]


async def test_closing_waits_for_what_was_submitted_and_takes_no_more() -> None:
    """What is written is answered; what comes too late is told so, in a later turn."""
    store = Store()
    async with asyncio.timeout(WAKE_S):
        await Store().turns.aclose()
    store.submit("a")
    await turn()
    store.submit("b")
    closing = asyncio.create_task(store.turns.aclose())
    await turn()
    store.submit("late")
    assert store.answers == []
    await turn()
    ((run_id, error),) = store.answers
    assert (run_id, type(error)) == ("late", LogAwayError)
    store.accept()
    await turn()
    assert (store.written, closing.done()) == ([["a"], ["b"]], False)
    store.accept()
    await asyncio.wait_for(closing, WAKE_S)


async def test_each_turn_is_timed() -> None:
    """Once, whatever its size; a lost one too."""
    durations: list[int] = []
    store = Store()
    store.turns.on_duration = durations.append
    store.submit("a", "b")
    await turn()
    store.accept()
    store.submit("a")
    await turn()
    store.turns.answered(LogAwayError())
    assert len(durations) == 2
    assert all(nanoseconds >= 0 for nanoseconds in durations)
