import asyncio
import io
import signal
from collections.abc import AsyncIterator, Iterable

import pytest

from tokenwire.cli import ask
from tokenwire.cli.ask import Asking, Exit
from tokenwire.cli.doors import BrokenError, Question, Received, RefusedError, UnreachableError
from tokenwire.cli.show import TextView

QUESTION = Question("List three fruits.")


def started() -> Received:
    return Received("r.1.1", "run_started", {"runId": "r"})


def text(sequence: int, content: str) -> Received:
    return Received(f"r.1.{sequence}", "text_delta", {"content": content})


def done(sequence: int, reason: str = "stop") -> Received:
    return Received(f"r.1.{sequence}", "done", {"finishReason": reason})


class FakeDoor:
    """A door whose streams are written down.

    Items are yielded, exceptions raised; `...` waits until the run is cancelled.
    """

    place = "the core at nowhere"
    guard_s = 0.05
    is_dense = True
    retry_s = 0.0

    def __init__(self, *streams: Iterable[object]) -> None:
        self.run_id = ""
        self.follows: list[str] = []
        self.starts: list[str] = []
        self.is_out_of_reach = True
        self.turns = 0
        self.cancels = 0
        self._streams = list(streams)
        self._cancelled = asyncio.Event()
        self.cancel_error: Exception | None = None

    async def _next(self) -> AsyncIterator[Received]:
        for item in self._streams.pop(0):
            self.is_out_of_reach = isinstance(item, UnreachableError) and self.is_out_of_reach
            if isinstance(item, Exception):
                raise item
            if item is ...:
                await self._cancelled.wait()
                continue
            assert isinstance(item, Received)
            self.run_id = "r"
            yield item

    def start(self, question: Question) -> AsyncIterator[Received]:
        self.starts.append(question.request_id)
        return self._next()

    def follow(self, after: str) -> AsyncIterator[Received]:
        self.follows.append(after)
        return self._next()

    async def cancel(self) -> None:
        self.cancels += 1
        if self.cancel_error:
            raise self.cancel_error
        self._cancelled.set()

    async def turn(self) -> None:
        self.turns += 1

    async def aclose(self) -> None: ...


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "FIRST_PAUSE_S", 0.0)


async def outcome(
    door: FakeDoor, question: Question = QUESTION, patience_s: float = 20.0
) -> tuple[int, str, str]:
    """Return the exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    status = await Asking(door, question, TextView(out, err), patience_s=patience_s).run()
    return status, out.getvalue(), err.getvalue()


async def test_an_answer_is_exit_0() -> None:
    """The plain case."""
    door = FakeDoor([started(), text(2, "Apples"), done(3)])
    assert await outcome(door) == (0, "Apples\n", "")


async def test_an_error_event_is_exit_1() -> None:
    """The run failed, and said so."""
    error = Received("r.1.2", "error", {"code": "INTERNAL", "message": "Oh.", "retryable": False})
    status, _, err = await outcome(FakeDoor([started(), error]))
    assert status == Exit.FAILED
    assert "INTERNAL: Oh." in err


async def test_a_refusal_is_exit_1() -> None:
    """There never was a run."""
    status, _, err = await outcome(FakeDoor([RefusedError("INVALID_ARGUMENT", "No such agent.")]))
    assert status == Exit.FAILED
    assert "INVALID_ARGUMENT: No such agent." in err


async def test_no_server_is_exit_3_at_once() -> None:
    """Nobody answered: whoever mistyped an address should not wait."""
    door = FakeDoor([UnreachableError("Can't reach it.")])
    assert (await outcome(door))[0] == Exit.UNREACHABLE
    assert len(door.starts) == 1


async def test_a_start_that_broke_is_repeated_under_the_same_id() -> None:
    """So that it starts no second run; elsewhere, where there is an elsewhere."""
    door = FakeDoor([BrokenError("x")], [], [UnreachableError("y")], [started(), done(2)])
    status, _, err = await outcome(door)
    assert (status, door.starts) == (0, [QUESTION.request_id] * 4)
    assert door.turns == 3
    assert err.splitlines() == ["tokenwire: x: trying again"]


async def test_a_refusal_that_passes_is_waited_for() -> None:
    """The server said when to come back."""
    busy = RefusedError("UNAVAILABLE", "Going down.", retry_s=0.01)
    assert (await outcome(FakeDoor([busy], [started(), done(2)])))[0] == 0
    assert (await outcome(FakeDoor([busy]), patience_s=0.0))[0] == Exit.FAILED


async def test_an_event_is_shown_once_and_one_that_is_missing_is_asked_for() -> None:
    """Whatever the server sends."""
    door = FakeDoor(
        [started(), text(2, "a"), text(2, "a"), text(4, "c")], [text(3, "b"), text(4, "c"), done(5)]
    )
    status, out, _ = await outcome(door)
    assert (status, out, door.follows) == (0, "abc\n", ["r.1.2"])


async def test_an_edges_own_error_ends_nothing_while_the_run_may_go_on() -> None:
    """It has no id: the cursor has not moved."""
    own = Received("", "error", {"code": "UNAVAILABLE", "message": "No core.", "retryable": True})
    door = FakeDoor([started(), text(2, "a"), own], [done(3)])
    status, out, err = await outcome(door)
    assert (status, out, door.follows) == (0, "a\n", ["r.1.2"])
    assert "UNAVAILABLE: No core.: resuming" in err


async def test_a_stream_without_a_terminal_event_is_taken_up_at_its_last_event() -> None:
    """Nothing is printed twice, nothing is left out, whether the stream breaks or just ends."""
    door = FakeDoor(
        [started(), text(2, "App"), BrokenError("gone")],
        [UnreachableError("not yet")],
        [text(3, "les")],
        [Received("", "caught_up", {}, is_control=True), done(4)],
    )
    status, out, _ = await outcome(door)
    assert (status, out) == (0, "Apples\n")
    assert door.follows == ["r.1.2", "r.1.2", "r.1.3"]


async def test_a_lost_stream_is_exit_4() -> None:
    """It is said once that it is tried, and which run it was: it may still go on."""
    gone = [UnreachableError("gone")]
    door = FakeDoor([started(), text(2, "App"), BrokenError("broke off")], *[gone] * 100_000)
    status, out, err = await outcome(door, patience_s=0.02)
    assert (status, out) == (Exit.LOST, "App\n")
    first, *_, last = err.splitlines()
    assert first == "tokenwire: broke off: resuming"
    assert "the run is r" in last
    assert len(err.splitlines()) == 3
    assert set(door.follows) == {"r.1.2"}


async def test_a_run_that_is_gone_is_exit_4_at_once() -> None:
    """Asking again would not bring it back."""
    door = FakeDoor([started(), BrokenError("x")], [RefusedError("DATA_LOSS", "The log is lost.")])
    status, _, err = await outcome(door)
    assert status == Exit.LOST
    assert "DATA_LOSS" in err


async def running(door: FakeDoor) -> tuple[Asking, asyncio.Task[int], io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    asking = Asking(door, QUESTION, TextView(out, err), patience_s=0.02)
    task = asyncio.create_task(asking.run())
    await asyncio.sleep(0.01)
    return asking, task, out, err


async def test_the_first_ctrl_c_stops_the_run_and_waits_for_its_end() -> None:
    """What was said so far is kept, and the terminal event is awaited."""
    door = FakeDoor([started(), text(2, "Ap"), ..., text(3, "p"), done(4, "cancelled")])
    asking, task, out, err = await running(door)
    asking.stop(signal.SIGINT)
    assert await task == 130
    assert out.getvalue() == "App\n"
    assert "Stopped." in err.getvalue()
    assert door.cancels == 1


async def test_ctrl_c_before_the_run_has_a_name_stops_it_as_soon_as_it_has() -> None:
    """No run is left behind that nobody wants."""
    door = FakeDoor([..., started(), ..., done(2, "cancelled")])
    asking, task, _, _ = await running(door)
    asking.stop(signal.SIGINT)
    assert door.cancels == 0
    door._cancelled.set()
    assert await task == 130
    assert door.cancels == 1


async def test_the_second_ctrl_c_leaves_at_once() -> None:
    """Even from a server that does not answer."""
    door = FakeDoor([started(), text(2, "Ap"), ..., ...])
    door.cancel_error = UnreachableError("down")
    asking, task, out, _ = await running(door)
    door.cancel = asyncio.Event().wait  # type: ignore[assignment]
    asking.stop(signal.SIGINT)
    await asyncio.sleep(0.01)
    assert not task.done()
    asking.stop(signal.SIGINT)
    assert await task == 130
    assert out.getvalue() == "Ap\n"


async def test_a_run_that_can_not_be_stopped_is_left() -> None:
    """It is said, and Ctrl-C ends the command all the same."""
    door = FakeDoor([started(), ...])
    door.cancel_error = UnreachableError("down")
    asking, task, _, err = await running(door)
    asking.stop(signal.SIGTERM)
    assert await task == 143
    assert "could not be stopped: down" in err.getvalue()


async def test_a_timeout_stops_the_run() -> None:
    """It is exit 1, with the code that a server would give."""
    door = FakeDoor([started(), text(2, "Ap"), ..., done(3, "cancelled")])
    status, out, err = await outcome(door, Question("x", timeout_s=0.02))
    assert (status, out, door.cancels) == (Exit.FAILED, "Ap\n", 1)
    assert "DEADLINE_EXCEEDED" in err


async def test_a_reader_that_left_stops_the_run() -> None:
    """`tokenwire ask … | head -1` does not leave a model talking to nobody."""

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    door = FakeDoor([started(), text(2, "Ap"), ...])
    asking = Asking(door, QUESTION, TextView(Closed(), io.StringIO()), patience_s=20.0)
    with pytest.raises(BrokenPipeError):
        await asking.run()
    assert door.cancels == 1
