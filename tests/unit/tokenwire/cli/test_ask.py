"""`tokenwire ask`: what is printed, and the exit status."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Callable

import pytest

from tests.support.scripted_transport import (
    RUN_ID,
    ScriptedTransport,
    done,
    failed,
    own_error,
    started,
    text,
    use,
)
from tokenwire.cli.access import Access
from tokenwire.cli.ask import Asking, Exit, Question
from tokenwire.cli.show import TextView
from tokenwire.client import ConnectionLostError, RefusedError, UnreachableError

QUESTION = Question("List three fruits.")
ACCESS = Access(url="http://nowhere")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedTransport]:
    """Writes the streams down that the server gives."""

    def write(*streams: list[object]) -> ScriptedTransport:
        transport = ScriptedTransport(*streams)
        use(transport, monkeypatch)
        return transport

    return write


Script = Callable[..., ScriptedTransport]


async def outcome(question: Question = QUESTION, patience_s: float = 20.0) -> tuple[int, str, str]:
    """Return the exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    status = await Asking(ACCESS, question, TextView(out, err), patience_s=patience_s).run()
    return status, out.getvalue(), err.getvalue()


async def test_an_answer_is_exit_0(script: Script) -> None:
    """The plain case; everything is closed."""
    transport = script([started(), text(2, "Apples"), done(3)])
    assert await outcome() == (0, "Apples\n", "")
    assert (transport.open, transport.is_closed) == (0, True)


async def test_an_error_event_is_exit_1(script: Script) -> None:
    """The run failed, and said so."""
    script([started(), failed(2)])
    status, _, err = await outcome()
    assert status == Exit.FAILED
    assert "INTERNAL: Oh." in err


async def test_a_refusal_is_exit_1(script: Script) -> None:
    """There never was a run."""
    script([RefusedError("INVALID_ARGUMENT", "No such agent.")])
    status, _, err = await outcome()
    assert status == Exit.FAILED
    assert "INVALID_ARGUMENT: No such agent." in err


async def test_no_server_is_exit_3_at_once(script: Script) -> None:
    """Nobody answered: whoever mistyped an address should not wait."""
    transport = script([UnreachableError("Can't reach it.")])
    status, _, err = await outcome()
    assert (status, len(transport.starts)) == (Exit.UNREACHABLE, 1)
    assert err == "tokenwire: Can't reach it: is it running? (`tokenwire up` starts one.)\n"


async def test_a_url_that_is_none_is_exit_2() -> None:
    """Nothing is asked."""
    out, err = io.StringIO(), io.StringIO()
    asking = Asking(Access(url="nowhere"), QUESTION, TextView(out, err), patience_s=1)
    assert await asking.run() == Exit.WRONG_USAGE
    assert "'nowhere' is not an address" in err.getvalue()


async def test_a_start_that_broke_is_said_once(script: Script) -> None:
    """It is repeated, elsewhere where there is an elsewhere."""
    transport = script([ConnectionLostError("x")], [], [UnreachableError("y")], [started(), done(2)])
    status, _, err = await outcome()
    assert (status, len(transport.starts), transport.turns) == (0, 4, 3)
    assert err.splitlines() == ["tokenwire: x: trying again"]


async def test_an_edges_own_error_ends_nothing_while_the_run_may_go_on(script: Script) -> None:
    """It has no id: the cursor has not moved."""
    own = own_error("UNAVAILABLE", "No core.", retryable=True)
    transport = script([started(), text(2, "a"), own], [done(3)])
    status, out, err = await outcome()
    assert (status, out, transport.follows) == (0, "a\n", ["1.2"])
    assert "UNAVAILABLE: No core.: resuming" in err


async def test_an_edges_own_final_error_is_shown_as_an_event(script: Script) -> None:
    """It is the last that comes. Exit 1."""
    script([own_error("NOT_FOUND", "No such agent.", retryable=False)])
    status, _, err = await outcome()
    assert (status, err) == (Exit.FAILED, "tokenwire: NOT_FOUND: No such agent.\n")


async def test_a_lost_stream_is_exit_4(script: Script) -> None:
    """It is said once that it is tried, and which run it was: it may still go on."""
    gone = [UnreachableError("gone.")]
    transport = script([started(), text(2, "App"), ConnectionLostError("broke off")], *[gone] * 100_000)
    status, out, err = await outcome(patience_s=0.02)
    assert (status, out) == (Exit.LOST, "App\n")
    first, *_, last = err.splitlines()
    assert first == "tokenwire: broke off: resuming"
    assert f"the run is {RUN_ID}" in last
    assert len(err.splitlines()) == 3
    assert set(transport.follows) == {"1.2"}


async def test_a_run_that_is_gone_is_exit_4_at_once(script: Script) -> None:
    """Asking again would not bring it back."""
    script([started(), ConnectionLostError("x")], [RefusedError("DATA_LOSS", "The log is lost.")])
    status, _, err = await outcome()
    assert status == Exit.LOST
    assert "DATA_LOSS" in err
    assert "the run is" not in err


async def running() -> tuple[Asking, asyncio.Task[int], io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    asking = Asking(ACCESS, QUESTION, TextView(out, err), patience_s=0.02)
    task = asyncio.create_task(asking.run())
    await asyncio.sleep(0.01)
    return asking, task, out, err


async def test_the_first_ctrl_c_stops_the_run_and_waits_for_its_end(script: Script) -> None:
    """What was said so far is kept, and the terminal event is awaited."""
    transport = script([started(), text(2, "Ap"), ..., text(3, "p"), done(4, "cancelled")])
    asking, task, out, err = await running()
    asking.stop(signal.SIGINT)
    assert await task == 130
    assert out.getvalue() == "App\n"
    assert "Stopped." in err.getvalue()
    assert transport.cancels == 1


async def test_ctrl_c_before_the_run_has_a_name_stops_it_as_soon_as_it_has(script: Script) -> None:
    """No run is left behind that nobody wants."""
    transport = script([..., started(), ..., done(2, "cancelled")])
    asking, task, _, _ = await running()
    asking.stop(signal.SIGINT)
    assert transport.cancels == 0
    transport.cancelled.set()
    assert await task == 130
    assert transport.cancels == 1


async def test_the_second_ctrl_c_leaves_at_once(script: Script) -> None:
    """Even from a server that does not answer; and nothing stays open."""
    transport = script([started(), text(2, "Ap"), ..., ...])
    asking, task, out, _ = await running()
    transport.cancel = asyncio.Event().wait  # type: ignore[assignment, method-assign]
    asking.stop(signal.SIGINT)
    await asyncio.sleep(0.01)
    assert not task.done()
    asking.stop(signal.SIGINT)
    assert await task == 130
    assert out.getvalue() == "Ap\n"
    assert (transport.open, transport.is_closed) == (0, True)


async def test_a_run_that_can_not_be_stopped_is_left(script: Script) -> None:
    """It is said, and Ctrl-C ends the command all the same."""
    transport = script([started(), ...])
    transport.cancel_error = UnreachableError("down.")
    asking, task, _, err = await running()
    asking.stop(signal.SIGTERM)
    assert await task == 143
    assert "could not be stopped: down" in err.getvalue()


async def test_a_timeout_stops_the_run(script: Script) -> None:
    """It is exit 1, with the code that a server would give."""
    transport = script([started(), text(2, "Ap"), ...], [done(3, "cancelled")])
    status, out, err = await outcome(Question("x", timeout_s=0.02))
    assert (status, out, transport.cancels) == (Exit.FAILED, "Ap\n", 1)
    assert "DEADLINE_EXCEEDED: the run took longer than 0.02 s" in err


async def test_a_reader_that_left_stops_the_run(script: Script) -> None:
    """`tokenwire ask … | head -1` does not leave a model talking to nobody."""

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    transport = script([started(), text(2, "Ap"), ...])
    asking = Asking(ACCESS, QUESTION, TextView(Closed(), io.StringIO()), patience_s=20.0)
    with pytest.raises(BrokenPipeError):
        await asking.run()
    assert transport.cancels == 1
