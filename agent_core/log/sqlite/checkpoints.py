"""Moves what the write-ahead log holds into the file, beside the turns: SQLite itself would do it within one.

A checkpoint waits for the disk (`fsync`), and so does the first write after a whole one, which begins the
write-ahead log anew. What is written meanwhile is not in that checkpoint: where turns never end, none is ever
whole, and the write-ahead log would grow without end. So there are two: a long one beside the turns, on a
connection and a thread of its own; then one of what has come since, by the writer, which begins anew itself.

Source: https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from agent_core.log.sqlite.schema import connect
from tokenwire.outage import Repeats

CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""How much is written from one checkpoint to the next, about: what the write-ahead log may be long, unless a
reader keeps it from being moved."""

logger = logging.getLogger(__name__)


def checkpoint(db: sqlite3.Connection) -> bool:
    """Move what the write-ahead log holds into the file, as far as readers leave it. Return whether all is.

    Raises:
        sqlite3.Error: The file can't be written. Nothing is lost: the write-ahead log has it.
    """
    _, pages, moved_pages = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return bool(moved_pages >= pages)


class Checkpoints:
    """Makes the long checkpoints.

    Args:
        path: The file.
        on_done: Called in the thread that has made one, whatever became of it.
    """

    def __init__(self, path: Path, on_done: Callable[[], None]) -> None:
        self._db = connect(path)
        self._on_done = on_done
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-checkpoints")
        self._repeats = Repeats()

    def begin(self) -> None:
        """Make one."""
        self._thread.submit(self._make)

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()
        self._db.close()

    def _make(self) -> None:
        try:
            checkpoint(self._db)
        except sqlite3.Error as error:
            self._repeats.log(
                logger, logging.WARNING, "the write-ahead log stays as long as it is: %s", error
            )
        finally:
            self._on_done()
