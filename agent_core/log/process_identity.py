"""Which process a core is: so that another one on the same machine knows for certain that it is gone.

A process id means something only within its machine, since its last boot, in its process namespace;
with the time at which the process started it is never used twice there.

Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE: Final = Path("/proc/self/ns/pid")
_STATE: Final = 0
_START_TIME: Final = 19
"""Fields of /proc/PID/stat, counted from the one behind the command's name."""


class ProcessIdentity(NamedTuple):
    """One process. Its text form is what cores tell of themselves."""

    place: str
    """The machine, its boot and the process namespace; empty where that can't be told."""
    pid: int
    start: str
    """When it started, in the kernel's ticks since the boot."""

    def __str__(self) -> str:
        """Return the text form."""
        return f"{self.place} {self.pid} {self.start}"


def own_identity() -> ProcessIdentity:
    """Return this process's identity."""
    pid = os.getpid()
    try:
        place = f"{_BOOT_ID.read_text().strip()}/{_NAMESPACE.stat().st_ino}"
        fields = _stat(pid)
    except OSError:
        return ProcessIdentity("", pid, "")
    return ProcessIdentity(place, pid, fields[_START_TIME])


def parse_identity(text: str) -> ProcessIdentity | None:
    """Return the identity that a text says; None when it says none."""
    match text.split(" "):
        case [place, pid, start] if pid.isdecimal():
            return ProcessIdentity(place, int(pid), start)
        case _:
            return None


def is_certainly_gone(other: ProcessIdentity, own: ProcessIdentity) -> bool:
    """Return whether it is proven that a process is gone: False where this one can't know.

    Args:
        other: The process that may be gone.
        own: This one.
    """
    if not own.place or other.place != own.place:
        return False
    try:
        fields = _stat(other.pid)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return fields[_START_TIME] != other.start or fields[_STATE] in {"Z", "X"}


def _stat(pid: int) -> list[str]:
    """Return a process's fields behind its command's name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
