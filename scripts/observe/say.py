"""What is told to the person at the terminal."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def say(line: str) -> None:
    """Print a line to stderr: stdout is for the addresses and what was found."""
    with contextlib.suppress(OSError):  # the terminal was closed: that is why it ends
        sys.stderr.write(f"observe: {line}\n")
        sys.stderr.flush()


def short(path: Path) -> str:
    """Return a path from the working directory, where it is below that."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
