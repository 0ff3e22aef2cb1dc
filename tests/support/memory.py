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


class _Mallinfo2(ctypes.Structure):
    """What glibc tells of its allocator, in bytes.

    Source: https://man7.org/linux/man-pages/man3/mallinfo.3.html
    """

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_bytes() -> int:
    """Return what this process holds of what it got from `malloc`, without the free rest that RSS has.

    0 where the C library can't tell. Python's own small objects come from elsewhere.
    """
    told = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if told is None:
        return 0
    told.restype = _Mallinfo2
    info = told()
    return int(info.uordblks + info.hblkhd)


def held_bytes() -> int:
    """Return this process's resident set size once all that is free has gone back to the system.

    What an allocator keeps for the next allocation is no leak, and would hide one as large.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's: others keep little
    if trim is not None:
        trim(0)
    return rss_bytes()
