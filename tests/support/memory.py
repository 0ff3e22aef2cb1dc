"""How much memory a process holds."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path


def rss_bytes(pid: int | None = None) -> int:
    """Return the resident set size of a process: of this one by default."""
    statm = Path(f"/proc/{pid or 'self'}/statm").read_text()
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held_bytes() -> int:
    """Return this process's resident set size once all that is free has gone back to the system.

    What an allocator keeps for the next allocation is no leak, and would hide one as large.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's: others keep little
    if trim is not None:
        trim(0)
    return rss_bytes()
