"""The command `trace`: from an id to what is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

from tokenwire.cli.show import printable
from tokenwire.traces.as_json import list_objects, trace_object
from tokenwire.traces.errors import NotFoundError, TraceError, UnreachableError
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.html import write_page
from tokenwire.traces.overview import list_lines, trace_lines
from tokenwire.traces.read_otlp import files_of, with_rotated
from tokenwire.traces.source import Source, choose
from tokenwire.traces.streams import Trace, assemble

TRACE_FILE: Final = "TOKENWIRE_TRACE_FILE"
PIPE_COLUMNS: Final = 120
"""The width where there is no terminal and COLUMNS does not say."""


class Exit(IntEnum):
    """Exit statuses, as far as they are not click's."""

    SHOWN = 0
    NOT_FOUND = 1
    WRONG_INPUT = 2
    UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: `wanted` is empty for the list of streams."""

    wanted: str = ""
    show_all: bool = False
    as_json: bool = False
    html: Path | None = None
    limit: int = 20


def is_path(text: str) -> bool:
    """Return whether what stands in an id's place is a file or a folder: ids have no dot and no slash."""
    return bool(text) and (os.sep in text or "." in text or Path(text).exists())


def files_source(paths: Sequence[Path]) -> Source:
    """Return the files and folders; without any, the file that TOKENWIRE_TRACE_FILE names.

    Raises:
        TraceError: There are none.
    """
    if not paths:
        if not (named := os.environ.get(TRACE_FILE, "")):
            raise TraceError(
                f"No file is named: give one or a folder, set {TRACE_FILE}, or ask a server by --phoenix."
            )
        paths = with_rotated(Path(named))
    return TraceFiles(files_of(paths), say)


def phoenix_source(url: str, project: str, api_key: str) -> Source:
    """Return a Phoenix server."""
    from tokenwire.traces.phoenix import Phoenix  # noqa: PLC0415 - httpx takes a moment

    return Phoenix(url, project, api_key)


def show(make_source: Callable[[], Source], wish: Wish) -> Exit:
    """Print what is wanted; return the exit status."""
    try:
        source = make_source()
        if wish.wanted:
            _show_trace(source, wish)
        else:
            _show_list(source, wish)
    except TraceError as error:
        say(str(error))
        if isinstance(error, NotFoundError):
            return Exit.NOT_FOUND
        return Exit.UNREACHABLE if isinstance(error, UnreachableError) else Exit.WRONG_INPUT
    except BrokenPipeError:
        _drop_output()
    return Exit.SHOWN


def say(line: str) -> None:
    """Print a line to stderr."""
    sys.stderr.write(f"tokenwire: {printable(line)}\n")


class _Pipe(Console):
    """Rich's console, to which a reader that has read enough is no error: `tokenwire trace … | head`."""

    def on_broken_pipe(self) -> NoReturn:
        """End the process."""
        _drop_output()
        raise SystemExit(Exit.SHOWN)


def _drop_output() -> None:
    """Let what is left in the buffer go nowhere when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_trace(source: Source, wish: Wish) -> None:
    trace = assemble(source.trace(choose(wish.wanted, source.candidates(wish.wanted))))
    for problem in trace.problems:
        say(problem)
    if wish.html is not None:
        _write_html(trace, wish.html)
    if wish.as_json:
        _print_json(trace_object(trace))
    elif wish.html is None:
        _print(lambda width: trace_lines(trace, width, show_all=wish.show_all))


def _show_list(source: Source, wish: Wish) -> None:
    heads = source.newest(wish.limit)
    if wish.as_json:
        _print_json({"streams": list_objects(heads)})
    elif heads:
        _print(lambda _width: list_lines(heads))
    else:
        raise NotFoundError("no stream here: no span has tokens")


def _write_html(trace: Trace, path: Path) -> None:
    try:
        size = write_page(trace, path)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error
    say(f"wrote {path} ({size:,} bytes)")


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _print(lines: Callable[[int], Iterable[Text]]) -> None:
    """Print lines at the terminal's width, in colours where it has them and NO_COLOR does not forbid them."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
    console = _Pipe(file=sys.stdout, highlight=False, soft_wrap=True, width=width, markup=False, emoji=False)
    for line in lines(console.width):
        # Names and ids come from files that anyone may have written.
        line.plain = printable(line.plain).replace("\n", "�")
        console.print(line)
    sys.stdout.flush()
