"""The load generator in C: builds it, runs it, and returns what it has measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SOURCES: Final = Path(__file__).resolve().parent.parent / "loader"
BUILD: Final = Path(__file__).resolve().parent.parent / "build"
"""Where everything that the benchmarks compile goes. Not in git."""

FLAGS: Final = ("-O2", "-std=c11", "-Wall", "-Wextra")
WITHIN_S: Final = 900.0

FAULTS: Final = ("gaps", "doubles", "wrong", "cut", "refused", "errors")
"""The counters of a row that must be 0: what each means is in loader.h."""

ORDER_FAULTS: Final = FAULTS[:3]
"""Those that no load excuses."""


class MissingToolError(Exception):
    """Something cannot be built or run here."""


@dataclass(frozen=True)
class Load:
    """One run of the loader. The fields are its options: see the head of bench/loader/main.c."""

    port: int
    body: str
    """JSON; `@n` in it is replaced by the stream's number."""
    streams: int
    options: Mapping[str, float | int | str | None] = field(default_factory=dict)
    """Further options by name, without dashes; None for an option without a value."""
    pids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The processes whose CPU and memory are measured, by name."""

    def command(self, program: Path) -> list[str]:
        """Return the command line."""
        named = {"port": self.port, "streams": self.streams, "body": self.body, **self.options}
        words = [str(program)]
        for name, value in named.items():
            words += [f"--{name}"] if value is None else [f"--{name}", str(value)]
        for name, pids in self.pids.items():
            words += ["--process", f"{name}={','.join(map(str, pids))}"]
        return words


def build_loader() -> Path:
    """Compile the loader, if its sources are newer than it is. Return the program.

    Raises:
        MissingToolError: There is no C compiler, or it failed.
    """
    program = BUILD / "loader"
    sources = sorted(SOURCES.glob("*.c"))
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise MissingToolError(
            "The benchmark's load generator is written in C, and no C compiler was found. "
            "Install gcc or clang, or name a compiler in CC."
        )
    BUILD.mkdir(exist_ok=True)
    command = [compiler, *FLAGS, "-o", str(program), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # our own sources
    if done.returncode:
        raise MissingToolError(f"{compiler} could not compile {SOURCES.name}:\n{done.stderr}")
    return program


def run_loader(program: Path, load: Load) -> dict[str, Any]:
    """Run the loader to its end. Return its row.

    Raises:
        RuntimeError: It failed: a process that it measures has ended, or a connection broke where none may.
    """
    command = load.command(program)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the loader failed: {done.stderr.strip()}")
    row: dict[str, Any] = json.loads(done.stdout)
    if done.stderr:
        row["said"] = done.stderr.strip()
    return row


def faults_of(row: Mapping[str, Any]) -> int:
    """Return how much was wrong in a row, in all."""
    return sum(int(row[name]) for name in FAULTS)
