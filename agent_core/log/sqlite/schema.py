"""The file of the store `sqlite:PATH`: its schema, and how it is opened by one core alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent_core.log.errors import LogOpenError
from agent_core.log.sqlite.chunks import CHUNK_BYTES, Chunk, write_chunks
from agent_core.log.sqlite.transaction import Transaction

APPLICATION_ID: Final = 0x544B5752
"""Marks the file as ours ("TKWR"). Source: https://www.sqlite.org/pragma.html#pragma_application_id"""

SCHEMA_VERSION: Final = 4

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
"""`size_bytes` is right from the end of a run on. `epoch` is that of the last event of a run that has ended;
all others are of the first one."""

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

CHUNKS: Final = """
CREATE TABLE journal (
  id INTEGER PRIMARY KEY,
  checksum INTEGER NOT NULL,
  turn BLOB NOT NULL
);
CREATE TABLE chunks (
  run INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  events BLOB NOT NULL,
  PRIMARY KEY (run, first)
) WITHOUT ROWID;
"""
"""What version 4 has in place of `events`. A row of `journal` is what all runs said in a turn, a row of
`chunks` some hundred events of one run. Events of an open run that are in no chunk yet are in the journal.
`packing.py` has the form of both."""

INDEXES: Final = """
CREATE INDEX IF NOT EXISTS owner_runs ON runs (owner, end_unix_nano) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS owner_sessions ON sessions (owner, expire_unix_nano);
"""
"""Made where they are missing, in the same version of the schema: earlier programs work with them too."""

MIGRATIONS: Final = {0: SCHEMA, 1: SESSIONS, 2: MESSAGES, 3: CHUNKS}
"""What leads from each version to the next. 0 is an empty file."""

WAL_BYTES: Final = 16 * 1024 * 1024
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
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    # What is forgotten is overwritten with zeros: FAST would leave what fills pages of its own, as chunks and
    # rows of the journal do.
    db.execute("PRAGMA secure_delete = ON")
    # Turns do not wait for checkpoints: checkpoints.py makes them.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    transaction = Transaction(db)
    with transaction.together():
        for step in range(version, SCHEMA_VERSION):
            _execute(transaction, MIGRATIONS[step])
            if MIGRATIONS[step] is CHUNKS:
                _pack_events(transaction)
        if version < SCHEMA_VERSION:
            transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        _execute(transaction, INDEXES)


def _execute(transaction: Transaction, statements: str) -> None:
    """Execute some statements: `executescript` would commit before the first one."""
    for statement in statements.split(";"):
        transaction.execute(statement)


def _pack_events(transaction: Transaction) -> None:
    """Write the events of version 3, a row each, as chunks: one chunk is in memory at a time.

    The transaction is the migration's: a process that is killed meanwhile leaves the file as it was. What a
    run's rows took is free for the next one's chunks, so that the file does not grow.
    """
    run = 0
    while (
        run := transaction.read("SELECT min(run) FROM events WHERE run > ?", (run,)).fetchone()[0]
    ) is not None:
        _pack_run(transaction, run)
        transaction.execute("DELETE FROM events WHERE run = ?", (run,))
    transaction.execute("DROP TABLE events")


def _pack_run(transaction: Transaction, run: int) -> None:
    """Write the events of one run as chunks."""
    chunk: list[bytes] = []
    first, size_bytes = 0, 0
    rows = transaction.read("SELECT sequence, event FROM events WHERE run = ? ORDER BY sequence", (run,))
    for sequence, event in rows:
        if size_bytes >= CHUNK_BYTES:
            write_chunks(transaction, [Chunk(run, first, chunk, size_bytes)])
            chunk, size_bytes = [], 0
        first = first if chunk else sequence
        chunk.append(event)
        size_bytes += len(event)
    write_chunks(transaction, [Chunk(run, first, chunk, size_bytes)])


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in a line for an operator why a file can't be opened."""
    try:
        yield
    except sqlite3.Error as error:
        raise LogOpenError(f"can't use {path}: {error}") from error
