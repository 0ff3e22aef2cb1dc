"""Files of the store `sqlite:PATH` that earlier versions have written."""

import sqlite3
from pathlib import Path

from agent_core.log.budget import LogBudget
from agent_core.log.contract import START, End, Exchange
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.sqlite.schema import APPLICATION_ID
from agent_core.log.sqlite.sessions import SESSION_OVERHEAD_BYTES
from agent_core.log.sqlite.writer import RUN_OVERHEAD_BYTES
from tests.support.stores import FAR, OTHER, RUN, STOP, payloads, record

VERSION_1 = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, session_id TEXT NOT NULL, agent TEXT NOT NULL,
  on_disconnect INTEGER NOT NULL, create_unix_nano INTEGER NOT NULL, owner TEXT NOT NULL,
  request_key TEXT UNIQUE, fingerprint BLOB NOT NULL, epoch INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  outcome TEXT, reason TEXT, end_unix_nano INTEGER NOT NULL DEFAULT 0,
  expire_unix_nano INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ended_runs ON runs (end_unix_nano) WHERE outcome IS NOT NULL;
CREATE TABLE events (
  run INTEGER NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY (run, sequence)
) WITHOUT ROWID;
INSERT INTO runs (run_id, session_id, agent, on_disconnect, create_unix_nano, owner, fingerprint, epoch,
  size_bytes) VALUES ('k7q2aaaaaaaaaaaaaaaaaaaaaaaaaa', 's', 'agent', 2, 1, 'alice', x'', 1, 0);
PRAGMA user_version = 1;
"""
"""What the first version of the store wrote: one open run."""

VERSION_2 = """
ALTER TABLE runs ADD COLUMN core TEXT NOT NULL DEFAULT '';
CREATE INDEX session_runs ON runs (session_id, owner, create_unix_nano, run_id) WHERE session_id <> '';
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, owner TEXT NOT NULL, session_id TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  expire_unix_nano INTEGER NOT NULL, UNIQUE (owner, session_id)
);
CREATE INDEX expiring_runs ON runs (expire_unix_nano) WHERE outcome IS NOT NULL;
CREATE INDEX expiring_sessions ON sessions (expire_unix_nano);
CREATE TABLE exchanges (
  id INTEGER PRIMARY KEY, session INTEGER NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
  size_bytes INTEGER NOT NULL
);
CREATE INDEX session_exchanges ON exchanges (session, id);
INSERT INTO events SELECT id, 1, 1, x'0801' FROM runs;
INSERT INTO sessions (owner, session_id, size_bytes, expire_unix_nano)
  VALUES ('alice', 's', 2, 9000000000000000000);
INSERT INTO exchanges (session, question, answer, size_bytes) VALUES (1, '?', '!', 2);
PRAGMA user_version = 2;
"""
"""What the second version added: the run has an event, and its session remembers something."""


async def test_a_file_of_the_second_version_loses_nothing(tmp_path: Path) -> None:
    """Its runs are there without a message, new ones have theirs, and all of it is counted right."""
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as db:
        db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {VERSION_1} {VERSION_2}")
    db.close()
    sizes = []
    for _ in range(2):
        log = SqliteLog(path, LogBudget(principal_bytes=1_000_000))
        await log.start()
        try:
            assert [info.record for info in await log.session_runs("alice", "s", 9)] == [record(session="s")]
            assert (await log.read(RUN, START, 9, FAR)).events == [b"\x08\x01"]
            assert await log.history("alice", "s") == [Exchange("?", "!")]
            await log.create(record(OTHER, message="hello"))
            assert await log.messages([RUN, OTHER]) == ["", "hello"]
            sizes.append(log._writer._shares.held.of("alice"))
        finally:
            await log.aclose()
    run_bytes = 2 * RUN_OVERHEAD_BYTES + len("hello") + 2  # and an event of 2 bytes
    assert sizes == [run_bytes + SESSION_OVERHEAD_BYTES + 2] * 2


async def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """With its runs, and room for what is new; once."""
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as db:
        db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {VERSION_1}")
    db.close()
    for _ in range(2):
        log = SqliteLog(path)
        await log.start()
        try:
            assert [info.record for info in await log.session_runs("alice", "s", 9)] == [record(session="s")]
            await log.close(RUN, 1, 1, payloads(1, 1), End(STOP, Exchange("1", "one")))
            assert await log.history("alice", "s") == [Exchange("1", "one")]
        finally:
            await log.aclose()


async def test_a_new_file_is_like_one_that_was_taken_over(tmp_path: Path) -> None:
    """There is one way to the newest schema, whatever a file began with."""
    schemas = []
    ours = f"PRAGMA application_id = {APPLICATION_ID};"
    for name, script in (
        ("new.db", ""),
        ("old.db", f"{ours} {VERSION_1}"),
        ("newer.db", f"{ours} {VERSION_1} {VERSION_2}"),
    ):
        with sqlite3.connect(tmp_path / name) as db:
            db.executescript(script)
        db.close()
        log = SqliteLog(tmp_path / name)
        await log.start()
        await log.aclose()
        with sqlite3.connect(tmp_path / name) as db:
            rows = db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            version = db.execute("PRAGMA user_version").fetchone()
        db.close()
        schemas.append((version, [(name, "".join((sql or "").split())) for name, sql in rows]))
    assert schemas[0] == schemas[1] == schemas[2]
