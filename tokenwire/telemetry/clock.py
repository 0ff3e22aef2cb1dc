"""The monotonic clock that stamps are read from, and its name."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_NAMESPACE = Path("/proc/self/ns/time")

monotonic_nano = time.monotonic_ns
"""Nanoseconds of this process's monotonic clock. On Linux all processes of one boot and one
time namespace share it, so their stamps can be subtracted."""


@cache
def clock_id() -> int:
    """Return the monotonic clock's name: equal for processes that share the clock, never 0.

    Where the kernel does not tell its boot id, each process has a clock of its own.
    """
    try:
        name = f"{BOOT_ID.read_text().strip()} {TIME_NAMESPACE.readlink()}"
    except OSError:
        name = f"{os.getpid()} {time.time_ns()}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") or 1


def clock_tag() -> int:
    """Return the low 32 bits of the clock's name, never 0: short enough to stand in each event."""
    return clock_id() & 0xFFFF_FFFF or 1
