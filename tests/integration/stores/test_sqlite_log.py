"""The store `sqlite:PATH`: its file, its lock, a full disk, and what one transaction holds."""

import asyncio
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent_core.log.budget import LogBudget
from agent_core.log.contract import (
    START,
    AppendStatus,
    End,
    Exchange,
    LogAwayError,
    LogOpenError,
    Position,
    SessionBusyError,
)
from agent_core.log.encoding import NANO
from agent_core.log.shares import Live
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from agent_core.log.sqlite.sessions import SESSION_OVERHEAD_BYTES
from agent_core.log.sqlite.writer import RUN_OVERHEAD_BYTES
from agent_core.runs.reaper import reap_orphans
from tests.support.stores import (
    FAR,
    OTHER,
    RUN,
    STOP,
    THIRD,
    WAKE_S,
    Clock,
    payload,
    payloads,
    record,
    texts,
)
from tokenwire.v1.event_pb2 import Event


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    await log.create(record())
    yield log
    await log.aclose()


def folder(path: Path) -> None:
    path.mkdir()


def garbage(path: Path) -> None:
    path.write_bytes(b"these are my holiday pictures" * 100)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def later(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()


def in_no_folder(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (folder, "can't write .*runs.db: Is a directory"),
        (in_no_folder, "can't write .*runs.db: No such file or directory"),
        (garbage, "can't use .*runs.db: file is not a database"),
        (foreign, "runs.db is another program's database"),
        (later, "runs.db was written by a later version of this program"),
    ],
)
async def test_what_can_not_be_opened_is_said(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """In a line that names the file; and it is left as it was."""
    path = tmp_path / "sub" / "runs.db"
    path.parent.mkdir()
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LogOpenError, match=said):
        await SqliteLog(path).start()
    assert before is None or path.read_bytes() == before


async def test_one_core_has_the_file(log: SqliteLog, tmp_path: Path) -> None:
    """Another is refused, and told which process it is; afterwards it may."""
    other = SqliteLog(tmp_path / "runs.db")
    with pytest.raises(LogOpenError, match=r"runs.db is used by another core, process \d+"):
        await other.start()
    assert (await log.append(RUN, 1, 1, payloads(1, 1))).status is AppendStatus.OK


def modes_in(place: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}


async def test_the_file_is_for_its_user_alone(log: SqliteLog, tmp_path: Path) -> None:
    """Answers are in it."""
    await log.append(RUN, 1, 1, payloads(1, 1))
    assert modes_in(tmp_path) == dict.fromkeys(
        ("runs.db", "runs.db-wal", "runs.db-shm", "runs.db.lock"), 0o600
    )


async def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    """With who owns it; open runs are reaped once, in the next epoch."""
    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    ended, lost = record(OTHER, key="alice\nr1", fingerprint=b"\0f", owner="bob"), record()
    await log.create(ended)
    await log.close(OTHER, 1, 1, payloads(1, 3), End(STOP))
    await log.create(lost)
    await log.append(RUN, 1, 1, payloads(1, 2))
    await log.aclose()

    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    tail = await log.tail(RUN, Position(1, 2), 10, FAR)
    waiting = asyncio.create_task(tail.next())
    assert [await reap_orphans(log), await reap_orphans(log)] == [1, 0]
    (encoded,) = (await asyncio.wait_for(waiting, WAKE_S)).events
    event = Event.FromString(encoded)
    assert (event.epoch, event.sequence, event.error.details["reason"]) == (2, 3, "PRODUCER_LOST")
    assert event.error.retryable
    assert event.error.code == "UNAVAILABLE"
    assert (await log.append(RUN, 1, 3, payloads(3, 1))).status is AppendStatus.FENCED
    info = await log.info(OTHER)
    assert info is not None
    assert info.record == ended
    batch = await log.read(OTHER, START, 10, FAR)
    assert (texts(batch.events), batch.complete) == (["1", "2", "3"], True)
    assert await log.create(record("k7q2" + "c" * 26, key="alice\nr1")) == ended
    await tail.aclose()
    await log.aclose()


async def test_a_full_disk_loses_nothing_that_was_accepted(log: SqliteLog) -> None:
    """The append fails as a whole; tried again when there is room, it is done once."""
    await log.append(RUN, 1, 1, payloads(1, 1))
    db = log._writer._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    large = [payload("x" * 100_000), payload("y" * 100_000)]
    for _ in range(2):
        with pytest.raises(LogAwayError, match="full"):
            await log.append(RUN, 1, 2, large)
    with pytest.raises(LogAwayError, match="full"):
        await log.close(RUN, 1, 2, large, End(STOP))
    assert texts((await log.read(RUN, START, 10, FAR)).events) == ["1"]
    db.execute("PRAGMA max_page_count = 1000000")
    assert (await log.append(RUN, 1, 2, large)).status is AppendStatus.OK
    assert (await log.append(RUN, 1, 2, large)).status is AppendStatus.OK
    assert len((await log.read(RUN, START, 10, FAR)).events) == 3


async def test_one_that_fails_in_a_group_fails_the_group_and_each_can_be_tried_again(log: SqliteLog) -> None:
    """What one transaction holds stands or falls together."""
    await log.create(record(OTHER))
    db = log._writer._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + 1}")
    answers = await asyncio.gather(
        log.append(OTHER, 1, 1, payloads(1, 1)),
        log.append(RUN, 1, 1, [payload("x" * 100_000)]),
        return_exceptions=True,
    )
    assert isinstance(answers[1], LogAwayError)
    db.execute("PRAGMA max_page_count = 1000000")
    for run_id in (OTHER, RUN):
        assert (await log.append(run_id, 1, 1, payloads(1, 1))).status is AppendStatus.OK
        assert texts((await log.read(run_id, START, 10, FAR)).events) == ["1"]


async def test_what_comes_while_the_writer_is_busy_is_one_transaction(log: SqliteLog) -> None:
    """However many runs it concerns, and without a timer."""
    commits: list[str] = []
    log._writer._db.set_trace_callback(lambda line: commits.append(line) if line == "COMMIT" else None)
    ids = [f"k7q2{number:026}" for number in range(200)]
    await asyncio.gather(*[log.create(record(run_id)) for run_id in ids])
    for first in range(1, 6):
        await asyncio.gather(*[log.append(run_id, 1, first, payloads(first, 1)) for run_id in ids])
    log._writer._db.set_trace_callback(None)
    assert len(commits) < 6 * len(ids) / 4
    for run_id in ids:
        assert texts((await log.read(run_id, START, 10, FAR)).events) == ["1", "2", "3", "4", "5"]


async def test_a_reader_behind_the_memory_reads_the_file_and_meets_the_live_end(tmp_path: Path) -> None:
    """Without a hole where the two meet."""
    log = SqliteLog(tmp_path / "runs.db", hot_bytes=2_000)
    await log.start()
    await log.create(record())
    got: list[str] = []

    async def read() -> None:
        tail = await log.tail(RUN, START, 7, FAR)
        complete = False
        while not complete:
            batch = await tail.next()
            got.extend(texts(batch.events))
            complete = batch.complete
        await tail.aclose()

    reading = asyncio.create_task(read())
    for number in range(1, 400):
        await log.append(RUN, 1, number, payloads(number, 1))
    assert log._live[RUN].event_bytes <= 2_000
    late = asyncio.create_task(read())
    await log.close(RUN, 1, 400, payloads(400, 1), End(STOP))
    await asyncio.wait_for(asyncio.gather(reading, late), WAKE_S)
    assert sorted(got, key=int) == [str(number) for number in range(1, 401) for _ in range(2)]
    assert (log._live, log._readers) == ({}, {})
    await log.aclose()


async def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path) -> None:
    """Neither its events nor its row, nor what its session remembered of it."""
    clock = Clock()
    path = tmp_path / "runs.db"
    log = SqliteLog(path, LogBudget(retention_s=10, session_retention_s=10), unix_nano=clock)
    await log.start()
    await log.create(record(session="a secret session"))
    exchange = Exchange("the secret question", "the secret answer")
    await log.close(RUN, 1, 1, [payload("the secret of the run")], End(STOP, exchange))
    clock.unix_nano += 10 * NANO
    await log.create(record(OTHER))
    await log.aclose()
    content = path.read_bytes()
    assert b"secret" not in content
    assert RUN.encode() not in content
    assert OTHER.encode() in content


async def test_a_cancelled_append_is_written_all_the_same(log: SqliteLog) -> None:
    """Once; and retrying it changes nothing."""
    appending = asyncio.create_task(log.append(RUN, 1, 1, payloads(1, 2)))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.wait({appending})
    assert (await log.append(RUN, 1, 1, payloads(1, 3))).status is AppendStatus.OK
    assert texts((await log.read(RUN, START, 10, FAR)).events) == ["1", "2", "3"]


async def test_messages_are_counted_right_after_a_restart_and_a_deletion(tmp_path: Path) -> None:
    """Of live runs and of ended ones."""
    sizes = []
    for turn in range(3):
        log = SqliteLog(tmp_path / "runs.db", LogBudget(principal_bytes=1_000_000))
        await log.start()
        if not turn:
            await log.create(record(RUN, message="x" * 17_384))
            await log.create(record(OTHER, message="y" * 100))
            await log.close(OTHER, 1, 1, payloads(1, 1), End(STOP))
        sizes.append(log._writer._shares.held.of("alice"))
        if turn == 1:
            assert log._writer.live("alice") == Live(1, 1_000)
            await log.delete(RUN)
            await log.delete(OTHER)
        await log.aclose()
    assert sizes[0] == sizes[1] > 17_484 + 2 * RUN_OVERHEAD_BYTES
    assert sizes[2] == 0


async def test_a_killed_core_forgets_nothing_that_was_said(tmp_path: Path) -> None:
    """The file as kill -9 leaves it, with its write-ahead log, has the exchange and the end together."""
    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    await log.create(record(session="s"))
    await log.close(RUN, 1, 1, payloads(1, 1), End(STOP, Exchange("1", "one")))
    await log.create(record(OTHER, session="s"))
    found = tmp_path / "found"
    found.mkdir()
    for name in ("runs.db", "runs.db-wal"):
        shutil.copy(tmp_path / name, found)
    await log.aclose()

    log = SqliteLog(found / "runs.db")
    await log.start()
    try:
        assert await log.history("alice", "s") == [Exchange("1", "one")]
        with pytest.raises(SessionBusyError):
            await log.create(record(THIRD, session="s"))
        assert await reap_orphans(log) == 1
        await log.create(record(THIRD, session="s"))
    finally:
        await log.aclose()


async def test_what_sessions_remember_is_counted_right_after_a_failure(tmp_path: Path) -> None:
    """A transaction that was rolled back counts nothing; nor does a restart lose count."""
    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    for number, text in enumerate(("a", "b" * 100)):
        run_id = f"k7q2{number:026}"
        await log.create(record(run_id, session="s"))
        await log.close(run_id, 1, 1, payloads(1, 1), End(STOP, Exchange("?", text)))
    size = log._writer._shares.said.total
    assert size == SESSION_OVERHEAD_BYTES + 2 + 101
    await log.create(record(session="s"))
    db = log._writer._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogAwayError, match="full"):
        await log.close(RUN, 1, 1, payloads(1, 1), End(STOP, Exchange("?", "x" * 50_000)))
    assert log._writer._shares.said.total == size
    assert len(await log.history("alice", "s")) == 2
    await log.aclose()
    log = SqliteLog(tmp_path / "runs.db")
    await log.start()
    assert log._writer._shares.said.total == size
    await log.aclose()
