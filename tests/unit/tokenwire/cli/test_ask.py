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

    def __init__(self, *streams: Iterable[object]) -> None:
        self.run_id = ""
        self.follows: list[str] = []
        self.cancels = 0
        self._streams = list(streams)
        self._cancelled = asyncio.Event()
        self.cancel_error: Exception | None = None

    async def _next(self) -> AsyncIterator[Received]:
        for item in self._streams.pop(0):
            if isinstance(item, Exception):
                raise item
            if item is ...:
                await self._cancelled.wait()
                continue
            assert isinstance(item, Received)
            self.run_id = "r"
            yield item

    def start(self, question: Question) -> AsyncIterator[Received]:
        del question
        return self._next()

    def follow(self, after: str) -> AsyncIterator[Received]:
        self.follows.append(after)
        return self._next()

    async def cancel(self) -> None:
        self.cancels += 1
        if self.cancel_error:
            raise self.cancel_error
        self._cancelled.set()

    async def aclose(self) -> None: ...


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "RESUME_WAITS_S", (0.0, 0.0, 0.0))


async def outcome(door: FakeDoor, question: Question = QUESTION) -> tuple[int, str, str]:
    """Return the exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    status = await Asking(door, question, TextView(out, err)).run()
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


@pytest.mark.parametrize("stream", [[UnreachableError("Can't reach it.")], []], ids=["refused", "empty"])
async def test_no_server_is_exit_3(stream: list[object]) -> None:
    """Nobody answered, or somebody who is no such server."""
    assert (await outcome(FakeDoor(stream)))[0] == Exit.UNREACHABLE


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


async def test_a_lost_stream_is_exit_4_after_a_few_tries() -> None:
    """It is said which run it was: it may still go on."""
    gone = [UnreachableError("gone")]
    door = FakeDoor([started(), text(2, "App")], gone, gone, gone)
    status, out, err = await outcome(door)
    assert (status, out) == (Exit.LOST, "App\n")
    assert "the run is r" in err
    assert len(door.follows) == 3


async def test_a_run_that_is_gone_is_exit_4_at_once() -> None:
    """Asking again would not bring it back."""
    door = FakeDoor([started(), BrokenError("x")], [RefusedError("DATA_LOSS", "The log is lost.")])
    status, _, err = await outcome(door)
    assert status == Exit.LOST
    assert "DATA_LOSS" in err


async def running(door: FakeDoor) -> tuple[Asking, asyncio.Task[int], io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    asking = Asking(door, QUESTION, TextView(out, err))
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
    asking = Asking(door, QUESTION, TextView(Closed(), io.StringIO()))
    with pytest.raises(BrokenPipeError):
        await asking.run()
    assert door.cancels == 1
