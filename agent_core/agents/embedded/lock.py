"""A lock between processes, held on a folder."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

LOCK_NAME: Final = ".lock"
POLL_S: Final = 0.1


@asynccontextmanager
async def folder_lock(folder: Path) -> AsyncIterator[bool]:
    """Wait until no other process holds the folder, and hold it.

    Yields True when it is held; False where the file system knows no locks. The system
    releases the lock of a process that dies, so it can't go stale.
    """
    with (folder / LOCK_NAME).open("ab") as file:
        told = False
        while (held := _try_lock(file.fileno())) is False:
            if not told:
                log.info("Another process is fetching into %s: waiting for it", folder)
                told = True
            await asyncio.sleep(POLL_S)
        yield held is True  # closing the file releases the lock


def _try_lock(descriptor: int) -> bool | None:
    """Return True when the lock is ours now, False when another has it, None when there are no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True
