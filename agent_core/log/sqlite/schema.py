"""The file of the store `sqlite:PATH`: its schema, and how it is opened by one core alone."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent_core.log.contract import LogOpenError

APPLICATION_ID: Final = 0x544B5752
"""Marks the file as ours ("TKWR"). Source: https://www.sqlite.org/pragma.html#pragma_application_id"""

SCHEMA_VERSION: Final = 3

SCHEMA: Final = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL UNIQUE,
  session_id TEXT NOT NULL,
  agent TEXT NOT NULL,
  on_disconnect INTEGER NOT NULL,
  create_unix_nano INTEGER NOT NULL,
  owner TEXT NOT NULL,
  request_key TEXT UNIQUE,
  fingerprint BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  outcome TEXT,
  reason TEXT,
  end_unix_nano INTEGER NOT NULL DEFAULT 0,
  expire_unix_nano INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ended_runs ON runs (end_unix_nano) WHERE outcome IS NOT NULL;
CREATE TABLE events (
  run INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  event BLOB NOT NULL,
  PRIMARY KEY (run, sequence)
) WITHOUT ROWID;
"""
"""An append inserts events and touches nothing else; `size_bytes` is right from the end of a run on."""

SESSIONS: Final = """
ALTER TABLE runs ADD COLUMN core TEXT NOT NULL DEFAULT '';
CREATE INDEX session_runs ON runs (session_id, owner, create_unix_nano, run_id) WHERE session_id <> '';
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,
  session_id TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  expire_unix_nano INTEGER NOT NULL,
  UNIQUE (owner, session_id)
);
CREATE INDEX expiring_runs ON runs (expire_unix_nano) WHERE outcome IS NOT NULL;
CREATE INDEX expiring_sessions ON sessions (expire_unix_nano);
CREATE TABLE exchanges (
  id INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  question TEXT NOT NULL,
  answer TEXT NOT NULL,
  size_bytes INTEGER NOT NULL
);
CREATE INDEX session_exchanges ON exchanges (session, id);
"""
"""What version 2 added: `sessions` holds those that remember something."""

MESSAGES: Final = """
CREATE TABLE messages (
  run INTEGER PRIMARY KEY,
  message BLOB NOT NULL
);
"""
"""What version 3 added: what the user said, in UTF-8, for each run that is created from then on. In a table
of its own, so that rows of `runs` stay short; a BLOB, whose length SQLite tells without reading it."""

INDEXES: Final = """
CREATE INDEX IF NOT EXISTS owner_runs ON runs (owner, end_unix_nano) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS owner_sessions ON sessions (owner, expire_unix_nano);
"""
"""Made where they are missing, in the same version of the schema: earlier programs work with them too."""

MIGRATIONS: Final = {0: SCHEMA, 1: SESSIONS, 2: MESSAGES}
"""What leads from each version to the next. 0 is an empty file."""

JOURNAL_BYTES: Final = 16 * 1024 * 1024
"""What the write-ahead log is cut down to after a checkpoint."""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to the file: for one thread at a time, not always the one that made it."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def prepared(path: Path) -> sqlite3.Connection:
    """Return a connection to the file, which has our schema now.

    Raises:
        LogOpenError: It is another program's, or a later version's.
    """
    db = connect(path)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """See to it that the file has our schema, in the mode that we need.

    Raises:
        LogOpenError: It is another program's, or a later version's.
    """
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (tables or version or application_id):
        raise LogOpenError(f"{path} is another program's database")
    if version > SCHEMA_VERSION:
        raise LogOpenError(f"{path} was written by a later version of this program")
    db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    # What is forgotten is overwritten with zeros where that costs no further write.
    db.execute("PRAGMA secure_delete = FAST")
    if version < SCHEMA_VERSION:
        steps = " ".join(MIGRATIONS[step] for step in range(version, SCHEMA_VERSION))
        db.executescript(
            f"BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    db.executescript(f"BEGIN IMMEDIATE; {INDEXES} COMMIT;")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in a line for an operator why a file can't be opened."""
    try:
        yield
    except sqlite3.Error as error:
        raise LogOpenError(f"can't use {path}: {error}") from error


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
