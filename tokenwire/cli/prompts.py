"""Questions of a run, asked in the terminal while the answer goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol

from tokenwire.cli.show import View, options_of
from tokenwire.client import ClientError
from tokenwire.events import InputReceived, InputRequested
from tokenwire.reasons import Reason

READ_BYTES: Final = 64 * 1024

_YES_OR_NO: Final = {"y": True, "yes": True, "n": False, "no": False}


class Reply(NamedTuple):
    """What a line that was typed means."""

    value: Any = None
    problem: str = ""
    """Why it is no answer; empty where it is one."""


class TakesAnswers(Protocol):
    """A run that can be answered."""

    @property
    def id(self) -> str:
        """The run's id."""

    async def send_input(self, input_id: str, value: Any = None, *, decline: bool = False) -> str:
        """Answer a question; return its outcome."""


def hint_of(asked: InputRequested) -> str:
    """Return what can be typed."""
    match asked.kind:
        case "approval":
            return "y or n"
        case "choice":
            return f"a number, 1 to {len(options_of(asked))}"
        case "text":
            return "a line of text"
        case _:
            return "a line of JSON"


def read_reply(asked: InputRequested, line: str) -> Reply:
    """Return what a line means as the answer to a question."""
    text = line.strip()
    match asked.kind:
        case "approval":
            return Reply(_YES_OR_NO.get(text.lower())) if text.lower() in _YES_OR_NO else _wrong(asked)
        case "choice":
            options = {str(number): option for number, option in enumerate(options_of(asked), 1)}
            chosen = text if text in options.values() else options.get(text)
            return Reply(chosen) if chosen is not None else _wrong(asked)
        case "text":
            return Reply(line.rstrip("\r\n"))
        case _:
            try:
                return Reply(json.loads(text))
            except (ValueError, RecursionError) as error:
                return Reply(problem=f"that is not JSON: {error}")


def _wrong(asked: InputRequested) -> Reply:
    return Reply(problem=f"type {hint_of(asked)}")


class Prompts:
    """Asks one question after the other. Lines are read by the event loop: no thread waits for one.

    Args:
        run: Is answered.
        view: Shows what is asked.
        terminal: The descriptor to read lines from; None where there is no terminal.
        elsewhere: Returns how to answer a question without this terminal.
    """

    def __init__(
        self, run: TakesAnswers, view: View, terminal: int | None, elsewhere: Callable[[str, str], str]
    ) -> None:
        self._run = run
        self._view = view
        self._terminal = terminal
        self._elsewhere = elsewhere
        self._open: dict[str, InputRequested] = {}
        self._asked = ""
        """The question that is answered by the next line; empty for none."""
        self._typed = b""
        self._is_reading = False
        self._sending: set[asyncio.Task[None]] = set()

    def requested(self, asked: InputRequested) -> None:
        """Ask a question, after those that are open."""
        self._open[asked.input_id] = asked
        if self._terminal is None:
            self._view.say(f"waiting for an answer: {self._elsewhere(self._run.id, asked.input_id)}")
        self._ask_next()

    def received(self, received: InputReceived) -> None:
        """Ask a question no longer."""
        self._open.pop(received.input_id, None)
        if self._asked == received.input_id:
            self._asked = ""
        self._ask_next()

    async def aclose(self) -> None:
        """Stop reading the terminal."""
        self._read(on=False)
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(tuple(self._sending))

    def _ask_next(self) -> None:
        if self._terminal is None:
            return
        if not self._asked and self._open:
            self._asked = next(iter(self._open))
            self._view.say(f"answer with {hint_of(self._open[self._asked])} (Ctrl-D declines):")
        self._read(on=bool(self._asked))

    def _read(self, *, on: bool) -> None:
        if on == self._is_reading or self._terminal is None:
            return
        self._is_reading, self._typed = on, b""
        loop = asyncio.get_running_loop()
        if on:
            loop.add_reader(self._terminal, self._on_typed)
        else:
            loop.remove_reader(self._terminal)

    def _on_typed(self) -> None:
        """Take what was typed. A terminal gives whole lines, and nothing at all for Ctrl-D."""
        assert self._terminal is not None  # noqa: S101 # for the type checker
        try:
            typed = os.read(self._terminal, READ_BYTES)
        except OSError as error:
            self._view.say(f"the terminal can't be read: {error}")
            self._read(on=False)
            return
        if not typed and not self._typed:
            self._send(self._run.send_input(self._asked, decline=True))
            return
        self._typed += typed
        if typed and not self._typed.endswith(b"\n"):
            return
        line, self._typed = self._typed.decode(errors="replace"), b""
        asked = self._open[self._asked]
        reply = read_reply(asked, line)
        if reply.problem:
            self._view.say(f"{reply.problem} (Ctrl-D declines):")
            return
        self._send(self._run.send_input(self._asked, reply.value))

    def _send(self, sending: Awaitable[str]) -> None:
        self._read(on=False)  # until it is known whether it was accepted
        task = asyncio.ensure_future(self._sent(self._asked, sending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _sent(self, input_id: str, sending: Awaitable[str]) -> None:
        try:
            await sending
        except ClientError as error:
            if error.reason == Reason.INPUT_CLOSED:
                self._view.say("the question was closed before your answer came")
                self._open.pop(input_id, None)
            else:
                self._view.say(f"the answer was not accepted: {error}")
        else:
            self._open.pop(input_id, None)
        if self._asked == input_id:
            self._asked = ""
        self._ask_next()
