"""What `ask` prints: the answer on stdout, all else on stderr."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tokenwire.cli.doors import Received

TOOL_TEXT_CHARACTERS: Final = 120
"""How much of a tool's arguments or result a line shows."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return a text that can't steer a terminal: control characters but tab and line feed become �."""
    return _CONTROL.sub("�", text)


class View(Protocol):
    """Shows a run."""

    def show(self, item: Received) -> None:
        """Show one event or control."""
        ...

    def say(self, line: str) -> None:
        """Say something about the run that is no part of it."""
        ...

    def finish(self) -> None:
        """Leave the terminal as it was found."""
        ...


class JsonView:
    """Each event as one line of JSON: what the browser gets, and the event's id.

    Args:
        out: Gets the events.
        err: Gets all else.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    def show(self, item: Received) -> None:
        """Print an event; say a control."""
        if item.is_control:
            if item.type == "resync":
                self.say(_resync_line(item))
            return
        if not item.type:
            return  # newer than this reader: no error
        line = {"type": item.type, **({"id": item.id} if item.id else {}), **item.fields}
        self._out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._out.flush()

    def say(self, line: str) -> None:
        """Print a line to stderr."""
        self._err.write(f"tokenwire: {printable(line)}\n")
        self._err.flush()

    def finish(self) -> None:
        """Nothing is open."""


class TextView:
    """The answer as it comes, a progress bar, and a line for each tool call.

    Args:
        out: Gets the answer.
        err: Gets all else; a terminal gets colours and a bar, anything else plain lines.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._console = Console(file=err, highlight=False, soft_wrap=True)
        self._out_is_terminal = out.isatty()
        self._open: str = ""
        """Whose line is unfinished: `answer`, `reasoning` or nobody's."""
        self._bar: Progress | None = None
        self._bar_task = TaskID(0)
        self._run_id = ""
        self._show: dict[str, Callable[[dict[str, Any]], None]] = {
            "run_started": self._run_started,
            "text_delta": self._text,
            "reasoning_delta": self._reasoning,
            "progress": self._progress,
            "tool_start": self._tool_start,
            "tool_result": self._tool_result,
            "custom": self._custom,
            "done": self._done,
            "error": self._error,
            "degraded": lambda fields: self.say(f"waiting: {fields.get('message', '')}"),
        }

    def show(self, item: Received) -> None:
        """Show one event or control; pass over what is not known here."""
        if item.is_control and item.type == "resync":
            self.say(_resync_line(item))
        elif item.type in self._show:
            self._show[item.type](item.fields)

    def say(self, line: str) -> None:
        """Print a line to stderr."""
        self._line(Text(f"tokenwire: {printable(line)}", style="yellow"))

    def finish(self) -> None:
        """End the bar and the open line."""
        self._end_bar()
        if self._open == "answer":
            self._out.write("\n")
            self._out.flush()
        elif self._open:
            self._console.print()
        self._open = ""

    def _run_started(self, fields: dict[str, Any]) -> None:
        self._run_id = fields.get("runId", "")

    def _text(self, fields: dict[str, Any]) -> None:
        self._begin("answer")
        content = fields["content"]
        self._out.write(printable(content) if self._out_is_terminal else content)
        self._out.flush()
        if content.endswith("\n"):
            self._open = ""

    def _reasoning(self, fields: dict[str, Any]) -> None:
        self._begin("reasoning")
        self._console.print(Text(printable(fields["content"]), style="dim"), end="")
        self._console.file.flush()

    def _progress(self, fields: dict[str, Any]) -> None:
        message, percent = printable(fields["message"]), fields.get("percent")
        if not self._console.is_terminal:
            self._line(Text(f"[{percent:3.0f}%] {message}" if percent is not None else f"[ … ] {message}"))
            return
        self._begin("")
        if self._bar is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[share]}"),
            )
            # No thread redraws it: it changes when an event comes.
            self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True)
            self._bar_task = self._bar.add_task("", total=100, share="")
            self._bar.start()
        self._bar.update(
            self._bar_task,
            description=message,
            completed=percent or 0,
            share="" if percent is None else f"{percent:.0f}%",
            refresh=True,
        )

    def _tool_start(self, fields: dict[str, Any]) -> None:
        self._line(Text(f"→ {printable(fields['tool'])} {_short(fields.get('args'))}", style="cyan"))

    def _tool_result(self, fields: dict[str, Any]) -> None:
        sign, style = ("✗", "red") if fields.get("isError") else ("✓", "green")
        self._line(Text(f"{sign} {printable(fields['tool'])} {_short(fields.get('result'))}", style=style))

    def _custom(self, fields: dict[str, Any]) -> None:
        self._line(Text(f"· {printable(fields['name'])} {_short(fields.get('data'))}", style="dim"))

    def _done(self, fields: dict[str, Any]) -> None:
        reasons = {
            "length": "The answer was cut short at the model's limit.",
            "cancelled": "Stopped.",
            "tool_limit": "The agent reached its limit of tool calls.",
        }
        self.finish()
        if fields.get("finishReason") in reasons:
            self.say(reasons[fields["finishReason"]])

    def _error(self, fields: dict[str, Any]) -> None:
        self.finish()
        # What the core's log is searched for: a trace id where traces are on, a run id in any case.
        known_as = (("run", self._run_id), ("trace", fields.get("traceId")))
        ids = ", ".join(f"{name} {value}" for name, value in known_as if value)
        again = " Try again." if fields.get("retryable") else ""
        text = printable(f"{fields['code']}: {fields['message']}{again}{ids and f' ({ids})'}")
        self._line(Text(f"tokenwire: {text}", style="red"))

    def _begin(self, whose: str) -> None:
        """Make room for what comes: on a terminal, answer and the rest share the screen."""
        self._end_bar()
        if self._open and self._open != whose and (self._open == "reasoning" or self._out_is_terminal):
            (self._console.file if self._open == "reasoning" else self._out).write("\n")
            self._out.flush()
        # Off a terminal the answer stays in one piece, whatever stderr says between.
        self._open = whose or ("answer" if self._open == "answer" and not self._out_is_terminal else "")

    def _line(self, text: Text) -> None:
        self._begin("")
        self._console.print(text)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(value: Any) -> str:
    """Return a JSON value on one line of bounded length; nothing for null."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(" ".join(text.split()))
    return text if len(text) <= TOOL_TEXT_CHARACTERS else text[: TOOL_TEXT_CHARACTERS - 1] + "…"


def _resync_line(item: Received) -> str:
    return f"text is missing here: the server's log now begins at event {item.fields.get('first', '?')}"
