"""What `ask` prints: the answer on stdout, all else on stderr."""

from __future__ import annotations

import json
import re
from typing import Final, Protocol, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tokenwire import events
from tokenwire.client import Item

TOOL_TEXT_CHARACTERS: Final = 120
"""How much of a tool's arguments or result a line shows."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return a text that can't steer a terminal: control characters but tab and line feed become �."""
    return _CONTROL.sub("�", text)


class View(Protocol):
    """Shows a run."""

    def show(self, item: Item) -> None:
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

    def show(self, item: Item) -> None:
        """Print an event; say a control."""
        if isinstance(item.event, events.ControlEvent):
            if isinstance(item.event, events.Resync):
                self.say(_resync_line(item.event))
            return
        fields = json.loads(msgspec.json.encode(item.event))
        line = {"type": fields.pop("type"), **({"id": item.id} if item.id else {}), **fields}
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

    def show(self, item: Item) -> None:  # noqa: C901, PLR0912 # one case for each event
        """Show one event or control."""
        match item.event:
            case events.RunStarted(run_id=run_id):
                self._run_id = run_id
            case events.TextDelta(content=content):
                self._text(content)
            case events.ReasoningDelta(content=content):
                self._reasoning(content)
            case events.Progress(message=message, percent=percent):
                self._progress(printable(message), percent)
            case events.ToolStart(tool=tool, args=args):
                self._line(Text(f"→ {printable(tool)} {_short(args)}", style="cyan"))
            case events.ToolResult(tool=tool, result=result, is_error=is_error):
                sign, style = ("✗", "red") if is_error else ("✓", "green")
                self._line(Text(f"{sign} {printable(tool)} {_short(result)}", style=style))
            case events.Custom(name=name, data=data):
                self._line(Text(f"· {printable(name)} {_short(data)}", style="dim"))
            case events.InputRequested() as asked:
                self._question(asked)
            case events.InputReceived(outcome=outcome):
                sign, style = ("✓", "green") if outcome == "answered" else ("✗", "yellow")
                self._line(Text(f"{sign} {printable(outcome)}", style=style))
            case events.Done(finish_reason=reason):
                self._done(reason)
            case events.Error() as error:
                self._error(error)
            case events.Degraded(message=message):
                self.say(f"waiting: {message}")
            case events.Resync() as resync:
                self.say(_resync_line(resync))
            case events.CaughtUp() | events.Reconnect():
                pass  # nothing that a reader of the answer has to know

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

    def _text(self, content: str) -> None:
        self._begin("answer")
        self._out.write(printable(content) if self._out_is_terminal else content)
        self._out.flush()
        if content.endswith("\n"):
            self._open = ""

    def _reasoning(self, content: str) -> None:
        self._begin("reasoning")
        self._console.print(Text(printable(content), style="dim"), end="")
        self._console.file.flush()

    def _progress(self, message: str, percent: float | None) -> None:
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

    def _question(self, asked: events.InputRequested) -> None:
        """Show a question, and the options of a choice by their numbers."""
        self._line(Text(f"? {printable(asked.prompt)}", style="bold"))
        for number, option in enumerate(options_of(asked), 1):
            self._line(Text(f"  {number}. {printable(option)}"))
        if asked.kind == "json" and isinstance(asked.schema, msgspec.Raw):
            self._line(Text(f"  {_short(asked.schema)}", style="dim"))

    def _done(self, reason: str) -> None:
        reasons = {
            "length": "The answer was cut short at the model's limit.",
            "cancelled": "Stopped.",
            "tool_limit": "The agent reached its limit of tool calls.",
        }
        self.finish()
        if reason in reasons:
            self.say(reasons[reason])

    def _error(self, error: events.Error) -> None:
        self.finish()
        # What the core's log is searched for: a trace id where traces are on, a run id in any case.
        known_as = (("run", self._run_id), ("trace", error.trace_id))
        ids = ", ".join(f"{name} {value}" for name, value in known_as if value)
        again = " Try again." if error.retryable else ""
        text = printable(f"{error.code}: {error.message}{again}{ids and f' ({ids})'}")
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


def options_of(asked: events.InputRequested) -> list[str]:
    """Return the options of a choice, in order; none of other questions."""
    schema = msgspec.json.decode(asked.schema) if isinstance(asked.schema, msgspec.Raw) else None
    options = schema.get("enum") if isinstance(schema, dict) else None
    if asked.kind != "choice" or not isinstance(options, list):
        return []
    return [option for option in options if isinstance(option, str)]


def _short(raw: msgspec.Raw) -> str:
    """Return a JSON value on one line of bounded length; nothing for null."""
    value = json.loads(bytes(raw))
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(" ".join(text.split()))
    return text if len(text) <= TOOL_TEXT_CHARACTERS else text[: TOOL_TEXT_CHARACTERS - 1] + "…"


def _resync_line(resync: events.Resync) -> str:
    return f"text is missing here: the server's log now begins at event {resync.first}"
