"""The store `sqlite:PATH` on a disk that is full, slow, locked or read-only; and how long its files get."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.errors import LogAwayError
from agent_core.log.position import START, Position
from agent_core.log.sqlite import transaction, writing
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.sqlite.transaction import Transaction
from tests.support.killed_log import victims
from tests.support.stores import (
    OTHER,
    RUN,
    STOP,
    THIRD,
    WAKE_S,
    all_texts,
    known,
    payload,
    payloads,
    record,
    soon,
)

OK = Appended(AppendStatus.OK)
LIVE_BYTES = 8_000
JOURNAL_BYTES = 16_000


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path / "runs.db", live_bytes=LIVE_BYTES, journal_bytes=JOURNAL_BYTES)
    await log.start()
    await log.create(record())
    await log.create(record(OTHER))
    yield log
    await log.aclose()


def rows(log: SqliteLog, query: str) -> list[tuple[int, ...]]:
    """Return what another program finds in the file."""
    with closing(sqlite3.connect(log._path)) as db:
        return db.execute(query).fetchall()


def size_of(path: Path) -> int:
    return path.stat().st_size


async def say(log: SqliteLog, run_id: str, numbers: range, size: int = 100) -> None:
    for number in numbers:
        assert await log.append(run_id, 1, number, [payload(f"{number}".ljust(size, "."))]) == OK


async def at_rest(log: SqliteLog) -> None:
    """Return when the store's threads have done what was due."""
    busy = True
    while busy:
        # Jobs are done before what comes with them that no one waits for: that is done with the second one.
        await log._caught_up()
        await log._caught_up()
        busy = log._writing._checkpointing or log._writing._tidying


@contextmanager
def full(log: SqliteLog) -> Iterator[None]:
    """Let the file take no further page."""
    db = log._writer._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    assert free < 3
    db.execute(f"PRAGMA max_page_count = {pages}")
    yield
    db.execute("PRAGMA max_page_count = 1000000")


async def test_no_room_for_a_chunk_costs_a_turn_nothing_but_time(log: SqliteLog) -> None:
    """The turn that needs it fails as a whole, also for the run that would fit, and is done once."""
    await say(log, RUN, range(1, 30))
    before = log._writer._shares.held.total
    much = [payload("x" * 90_000)]
    for _ in range(3):
        with full(log):
            answers = await asyncio.gather(
                log.append(RUN, 1, 30, much),
                log.append(OTHER, 1, 1, payloads(1, 1)),
                log.close(OTHER, 1, 1, much, End(STOP)),
                log.create(record(THIRD, message="x" * 90_000)),
                return_exceptions=True,
            )
        assert all(isinstance(answer, LogAwayError) for answer in answers)
        assert log._writer._shares.held.total == before
        assert (await known(log)).last == Position(1, 29)
        assert (await known(log, OTHER)).last == START
        assert await log.info(THIRD) is None
    assert await log.append(RUN, 1, 30, much) == OK
    assert await log.append(RUN, 1, 30, much) == OK
    assert len(await all_texts(log)) == 30


async def test_a_journal_that_can_not_be_emptied_is_emptied_later(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Turns go on meanwhile as far as there is room; what failed is said and changes nothing."""
    monkeypatch.setattr(writing, "AGAIN_S", 0.0)
    failed = 0
    write = Transaction.execute

    def no_room(self: Transaction, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        nonlocal failed
        if statement.startswith("INSERT INTO chunks"):
            failed += 1
            raise sqlite3.OperationalError("database or disk is full")
        return write(self, statement, values)

    await say(log, OTHER, range(1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "execute", no_room)
        run = 0
        while failed < 3:
            run += 1
            run_id = f"k7q2{run:026}"
            await log.create(record(run_id))
            await say(log, run_id, range(1, 20))
        assert rows(log, "SELECT count(*) FROM chunks") == [(0,)]
    assert "the run log could not be tidied up: database or disk is full" in caplog.text
    await say(log, OTHER, range(2, 3))
    await at_rest(log)
    assert [text.strip(".") for text in await all_texts(log, OTHER)] == ["1", "2"]
    ((size_bytes,),) = rows(log, "SELECT sum(length(turn)) FROM journal")
    assert size_bytes < 2 * JOURNAL_BYTES
    for number in range(1, run + 1):
        assert len(await all_texts(log, f"k7q2{number:026}")) == 19


async def test_a_checkpoint_without_room_loses_nothing(
    log: SqliteLog, caplog: pytest.LogCaptureFixture
) -> None:
    """The write-ahead log keeps what the file has no room for; with room again it goes there."""
    await log.close(OTHER, 1, 1, [payload("x" * 900_000)] * 2, End(STOP))
    log._writing._begin_checkpoint()
    await at_rest(log)
    limit = size_of(log._path)
    limits, much = resource.getrlimit(resource.RLIMIT_FSIZE), [payload("x" * 900_000)] * 2
    await say(log, RUN, range(1, 31), size=4_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        log._writing._begin_checkpoint()
        await at_rest(log)
        assert "the write-ahead log stays as long as it is" in caplog.text
        await say(log, RUN, range(31, 41))
        with pytest.raises(LogAwayError):
            await log.append(RUN, 1, 41, much)
        assert len(await all_texts(log)) == 40
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert size_of(log._path) == limit
    assert await log.append(RUN, 1, 41, much) == OK
    log._writing._begin_checkpoint()
    await at_rest(log)
    assert size_of(log._path) > limit + 1_800_000
    assert len(await all_texts(log)) == 42


async def test_another_program_s_lock_holds_turns_up_and_not_the_loop(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn is written when the lock is gone; one that lasts is LogAwayError, and nothing is lost."""
    with closing(sqlite3.connect(log._path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        appending = asyncio.create_task(log.append(RUN, 1, 1, payloads(1, 1)))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not appending.done()
        assert (await known(log)).last == START
        other.execute("COMMIT")
        assert await soon(appending) == OK
        monkeypatch.setattr(transaction, "LOCKED_S", 0.05)
        other.execute("BEGIN IMMEDIATE")
        for write in (log.append(RUN, 1, 2, payloads(2, 1)), log.probe(), log.create(record(THIRD))):
            with pytest.raises(LogAwayError, match="locked"):
                await asyncio.wait_for(write, WAKE_S)
        other.execute("COMMIT")
    assert await log.append(RUN, 1, 2, payloads(2, 1)) == OK
    assert await all_texts(log) == ["1", "2"]


async def test_a_file_that_becomes_read_only_is_away_until_it_is_not(log: SqliteLog) -> None:
    """As after an error of the disk, when the system remounts it."""
    await say(log, RUN, range(1, 3))
    log._writer._db.execute("PRAGMA query_only = ON")
    for write in (log.append(RUN, 1, 3, payloads(3, 1)), log.probe()):
        with pytest.raises(LogAwayError, match="readonly"):
            await write
    assert len(await all_texts(log)) == 2
    log._writer._db.execute("PRAGMA query_only = OFF")
    assert await log.append(RUN, 1, 3, payloads(3, 1)) == OK


def test_a_file_that_can_not_be_written_is_said_at_the_start() -> None:
    """With its name, and without a trace of a try."""
    with tempfile.TemporaryDirectory() as name, victims() as others:
        folder = Path(name)
        path = folder / "runs.db"
        path.touch()
        path.chmod(0o444)
        folder.chmod(0o555)
        found = others.run("recover", path, user=65_534 if os.geteuid() == 0 else 0)
        assert found.answered == [f"error can't write {path}: Permission denied"]
        assert list(folder.iterdir()) == [path]
        folder.chmod(0o755)


async def test_a_turn_on_a_slow_disk_is_the_thread_s(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop meets it, and waits no more."""
    threads: list[bool] = []
    add = log._writer.journal.add

    def noted(pieces: list[tuple[int, int, list[bytes]]]) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        add(pieces)

    monkeypatch.setattr(log._writer.journal, "add", noted)
    await say(log, RUN, range(1, 4))
    monkeypatch.setattr(writing, "SLOW_S", 0.0)
    monkeypatch.setattr(writing, "SLOW_TOTAL_S", 0.0)
    await say(log, RUN, range(4, 7))
    assert threads == [True] * 4 + [False] * 2
    assert len(await all_texts(log)) == 6


async def test_a_silent_run_does_not_keep_the_journal(log: SqliteLog) -> None:
    """Its events are moved where the journal is too long; where it is old, too."""
    await say(log, OTHER, range(1, 2))
    for number in range(40):
        run_id = f"k7q2{number:026}"
        await log.create(record(run_id))
        await say(log, run_id, range(1, 15))
    await at_rest(log)
    ((size_bytes, first),) = rows(log, "SELECT sum(length(turn)), min(id) FROM journal")
    assert size_bytes < 2 * JOURNAL_BYTES
    assert first > 1
    assert len(await all_texts(log, OTHER)) == 1
    for _ in range(2):
        log._writing.put_aside(log._writing._sweep)
        await at_rest(log)
    assert rows(log, "SELECT count(*) FROM journal") == [(0,)]
    assert rows(log, "SELECT count(*) FROM chunks WHERE run = 2") == [(1,)]
    for number in range(40):
        assert len(await all_texts(log, f"k7q2{number:026}")) == 14
    await say(log, OTHER, range(2, 4))
    assert [text.strip(".") for text in await all_texts(log, OTHER)] == ["1", "2", "3"]


async def test_the_write_ahead_log_stays_short_unless_it_is_read(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew after each checkpoint; what another program's reader held goes into the file later."""
    monkeypatch.setattr(writing, "CHECKPOINT_BYTES", 100_000)
    sizes: list[int] = []

    async def much() -> int:
        for _ in range(10):
            first = (await known(log)).last.sequence + 1
            await say(log, RUN, range(first, first + 60), size=1_000)
            await at_rest(log)
        sizes.append(size_of(Path(f"{log._path}-wal")))
        return sizes[-1]

    short = await much()
    assert await much() < 2 * short
    with closing(sqlite3.connect(log._path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM chunks").fetchone()
        held = await much()
        assert held > 3 * short, sizes
    for _ in range(5):  # The checkpoint after which it begins anew is made beside the turns.
        if await much() == sizes[-2]:
            break
    assert sizes[-1] == sizes[-2] < 2 * held, sizes
    assert len(await all_texts(log)) == 600 * len(sizes)


async def test_turns_that_come_while_the_store_is_busy_are_written_in_order(log: SqliteLog) -> None:
    """By the store's thread, where the loop finds the file taken; each answered once, in the loop."""
    ids = [f"k7q2{number:026}" for number in range(20)]
    for run_id in ids:
        await log.create(record(run_id))
    answers: list[tuple[str, int]] = []
    done = asyncio.Event()

    def submit(run_id: str, number: int) -> None:
        def answered(answer: Appended | Exception) -> None:
            assert answer == OK
            assert threading.current_thread() is threading.main_thread()
            answers.append((run_id, number))
            if number < 30:
                submit(run_id, number + 1)
            elif len(answers) == 30 * len(ids):
                done.set()

        log.submit(Append(run_id, 1, number, payloads(number, 1)), answered)

    for run_id in ids:
        submit(run_id, 1)
    busy = [log.probe() for _ in range(50)]
    await asyncio.wait_for(asyncio.gather(done.wait(), *busy), WAKE_S)
    for run_id in ids:
        assert [number for other, number in answers if other == run_id] == list(range(1, 31))
        assert await all_texts(log, run_id) == [str(number) for number in range(1, 31)]
