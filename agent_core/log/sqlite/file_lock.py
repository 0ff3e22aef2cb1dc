"""The lock that gives a file to one core alone."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from agent_core.log.errors import LogOpenError


class FileLock:
    """Holds a file for this process: until it is closed or the process ends, however it ends.

    Args:
        path: The file. Made, for this user alone, where there is none.

    Raises:
        LogOpenError: Another core has it, or it can't be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Answers are nobody else's business. SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LogOpenError(f"can't write {error.filename}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            self.close()
            raise LogOpenError(f"{path} is used by another core, process {holder or 'unknown'}") from error
        with suppress(OSError):  # Only told to people; a full disk has no room for it.
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let another core have the file."""
        os.close(self._lock)
