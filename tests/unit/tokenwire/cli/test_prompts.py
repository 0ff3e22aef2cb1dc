"""Questions that are answered in the terminal."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from tokenwire.cli.prompts import Prompts, Reply, read_reply
from tokenwire.cli.show import TextView
from tokenwire.client import ClientError, RefusedError
from tokenwire.events import InputReceived, InputRequested


def asked(kind: str = "approval", input_id: str = "1", schema: object = None) -> InputRequested:
    """Return a question."""
    given = {"schema": msgspec.Raw(msgspec.json.encode(schema))} if schema is not None else {}
    return InputRequested(timestamp=1, input_id=input_id, kind=kind, prompt="?", **given)


CHOICE = asked("choice", schema={"enum": ["red", "2"]})


@pytest.mark.parametrize(
    ("question", "line", "reply"),
    [
        (asked(), "y\n", Reply(value=True)),
        (asked(), " NO \n", Reply(value=False)),
        (asked(), "maybe\n", Reply(problem="type y or n")),
        (CHOICE, "1\n", Reply("red")),
        (CHOICE, "red\n", Reply("red")),
        (CHOICE, "2\n", Reply("2")),
        (CHOICE, "3\n", Reply(problem="type a number, 1 to 2")),
        (asked("choice"), "1\n", Reply(problem="type a number, 1 to 0")),
        (asked("text"), "  Ann B \r\n", Reply("  Ann B ")),
        (asked("text"), "\n", Reply("")),
        (asked("json"), '{"a": 1}\n', Reply({"a": 1})),
        (asked("newer"), "41\n", Reply(41)),
    ],
)
def test_a_line_is_read_as_the_question_asks(question: InputRequested, line: str, reply: Reply) -> None:
    """Anything else is asked again."""
    assert read_reply(question, line) == reply


def test_what_is_not_json_is_said() -> None:
    """With the parser's own words."""
    assert read_reply(asked("json"), "{").problem.startswith("that is not JSON: ")


class Answered:
    """A run that takes answers."""

    id = "run"

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []
        self.errors: list[ClientError] = []
        self.came = asyncio.Event()

    async def send_input(self, input_id: str, value: Any = None, *, decline: bool = False) -> str:
        self.answers.append((input_id, "declined" if decline else value))
        self.came.set()
        if self.errors:
            raise self.errors.pop(0)
        return "answered"


class Terminal:
    """What is typed, and what is shown."""

    def __init__(self, *, has_terminal: bool = True) -> None:
        self.reads, self.writes = os.pipe()
        self.err = io.StringIO()
        self.run = Answered()
        self.prompts = Prompts(
            self.run,
            TextView(io.StringIO(), self.err),
            self.reads if has_terminal else None,
            lambda run_id, input_id: f"POST {run_id}/{input_id}",
        )

    async def type(self, text: str) -> None:
        """Type, and wait for what comes of it."""
        self.run.came.clear()
        os.write(self.writes, text.encode())
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.run.came.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def said(self) -> list[str]:
        """Return the lines that were said since the last time."""
        lines = self.err.getvalue().splitlines()
        self.err.seek(0)
        self.err.truncate()
        return lines


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    terminal = Terminal()
    yield terminal
    await terminal.prompts.aclose()
    os.close(terminal.reads)
    with suppress(OSError):
        os.close(terminal.writes)


async def test_questions_are_asked_one_after_the_other(terminal: Terminal) -> None:
    """Also in pieces of a line; what is no answer is asked again."""
    terminal.prompts.requested(asked())
    terminal.prompts.requested(asked("text", "2"))
    assert terminal.said() == ["tokenwire: answer with y or n (Ctrl-D declines):"]
    await terminal.type("may")
    await terminal.type("be\n")
    assert terminal.said() == ["tokenwire: type y or n (Ctrl-D declines):"]
    await terminal.type("y\n")
    assert terminal.said() == ["tokenwire: answer with a line of text (Ctrl-D declines):"]
    await terminal.type("Ann\n")
    assert terminal.run.answers == [("1", True), ("2", "Ann")]
    terminal.prompts.received(InputReceived(timestamp=1, input_id="2", outcome="answered"))
    assert terminal.said() == []


async def test_the_end_of_input_declines(terminal: Terminal) -> None:
    """Ctrl-D, of a terminal."""
    terminal.prompts.requested(asked())
    os.close(terminal.writes)
    async with asyncio.timeout(10):
        await terminal.run.came.wait()
    assert terminal.run.answers == [("1", "declined")]


async def test_a_question_that_is_closed_elsewhere_is_asked_no_longer(terminal: Terminal) -> None:
    """What was typed for it is not taken for the next one's answer."""
    terminal.prompts.requested(asked())
    await terminal.type("y")
    terminal.prompts.received(InputReceived(timestamp=1, input_id="1", outcome="answered"))
    terminal.said()
    terminal.prompts.requested(asked("text", "2"))
    await terminal.type("Ann\n")
    assert terminal.run.answers == [("2", "Ann")]


async def test_an_answer_that_is_refused_is_said(terminal: Terminal) -> None:
    """One that came too late is not asked again; one that is wrong is."""
    terminal.run.errors = [
        RefusedError("INVALID_ARGUMENT", "Too long."),
        RefusedError("FAILED_PRECONDITION", "Closed.", {"reason": "INPUT_CLOSED"}),
    ]
    terminal.prompts.requested(asked("text"))
    await terminal.type("Ann\n")
    assert terminal.said()[1:] == [
        "tokenwire: the answer was not accepted: INVALID_ARGUMENT: Too long.",
        "tokenwire: answer with a line of text (Ctrl-D declines):",
    ]
    await terminal.type("Ann\n")
    assert terminal.said() == ["tokenwire: the question was closed before your answer came"]


async def test_without_a_terminal_it_is_said_how_to_answer() -> None:
    """And nothing is read."""
    terminal = Terminal(has_terminal=False)
    terminal.prompts.requested(asked())
    assert terminal.said() == ["tokenwire: waiting for an answer: POST run/1"]
    terminal.prompts.received(InputReceived(timestamp=1, input_id="1", outcome="answered"))
    await terminal.prompts.aclose()
    os.close(terminal.reads)
    os.close(terminal.writes)
