"""Moves what the write-ahead log holds into the file, beside the turns: SQLite itself would do it within one.

A checkpoint waits for the disk (`fsync`), for milliseconds or longer. The writer goes on meanwhile, and what it
writes is not in that checkpoint: under load no checkpoint ever has all of it, and the write-ahead log would grow
without end. Where it is too long, the writer makes the last, short one itself, between two turns. Then its next
turn begins the write-ahead log anew.

Source: https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from agent_core.log.sqlite.schema import connect
from tokenwire.outage import Repeats

CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""How much is written, about, from one checkpoint to the next: as with SQLite's own, of 1,000 pages."""

LONG_WAL_PAGES: Final = 4 * CHECKPOINT_BYTES // 4096
"""From how many pages on the writer waits until the write-ahead log is in the file."""

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """What a checkpoint came to."""

    blocked: bool
    wal_pages: int
    """How many pages the write-ahead log has."""
    moved_pages: int
    """How many of them are in the file now."""

    @property
    def whole(self) -> bool:
        """Whether all of it is in the file: the next one who writes begins the write-ahead log anew."""
        return self.moved_pages >= self.wal_pages


def checkpoint(db: sqlite3.Connection) -> Checkpoint:
    """Move what the write-ahead log holds into the file, as far as readers and the writer leave it.

    Raises:
        sqlite3.Error: The file can't be written. Nothing is lost: the write-ahead log has it.
    """
    blocked, wal_pages, moved_pages = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return Checkpoint(bool(blocked), wal_pages, moved_pages)


class Checkpoints:
    """Makes a checkpoint where enough was written, in a thread of its own.

    Args:
        path: The file.
        finish: Called in that thread where the writer is to make a short one itself.
    """

    def __init__(self, path: Path, finish: Callable[[], None]) -> None:
        self._db = connect(path)
        self._finish = finish
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-checkpoints")
        self._under_way: Future[None] | None = None
        self._written_bytes = 0
        self._repeats = Repeats()

    def written(self, size_bytes: int) -> None:
        """Take note of what was written. For one thread.

        Args:
            size_bytes: How much it was, about.
        """
        self._written_bytes += size_bytes
        if self._written_bytes >= CHECKPOINT_BYTES and (self._under_way is None or self._under_way.done()):
            self._written_bytes = 0
            self._under_way = self._thread.submit(self._make)

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()
        self._db.close()

    def _make(self) -> None:
        """Make a checkpoint; a second one of what was written meanwhile, where the first one was long."""
        try:
            made = checkpoint(self._db)
            if made.wal_pages >= LONG_WAL_PAGES and not made.whole:
                checkpoint(self._db)
                self._finish()
        except sqlite3.Error as error:
            self._repeats.log(
                logger, logging.WARNING, "the write-ahead log stays as long as it is: %s", error
            )
