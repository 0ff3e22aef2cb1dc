"""The store `sqlite:PATH` after its process was killed or its machine lost power: what the next one finds."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from agent_core.log.append import Append, AppendStatus
from agent_core.log.batch import Batch
from agent_core.log.position import Position
from agent_core.log.records import Exchange
from agent_core.log.sqlite.reader import LogReader
from tests.support.killed_log import ASIDE, EVENTS, Found, Victims, open_writer, text_of, victims
from tests.support.stores import FAR, OTHER, RUN, THIRD, payload, payloads, record, texts

SAID = {RUN: EVENTS + 1, OTHER: ASIDE, THIRD: 1}


@pytest.fixture(scope="module")
def killed() -> Iterator[Victims]:
    """Runs logs in processes of their own."""
    with victims() as running:
        yield running


def copied(path: Path, place: Path) -> Path:
    """Return a copy of a file as a process has left it, with its write-ahead log."""
    place.mkdir()
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", place / f"{path.name}{suffix}")
    return place / path.name


class Left:
    """What is in a file once the next core has put it in order."""

    def __init__(self, path: Path) -> None:
        with sqlite3.connect(path) as db:
            known = db.execute("SELECT name FROM sqlite_schema WHERE name = 'journal'").fetchone()
            self.journal_rows = db.execute("SELECT count(*) FROM journal").fetchone()[0] if known else 0
        db.close()
        self.writer = open_writer(path)
        self.reader = LogReader(path, lambda: 1)
        self.batches: dict[str, Batch] = {}
        for run_id in SAID:
            if self.reader.infos(run_id):
                self.batches[run_id] = self.reader.read(run_id, 0, 1_000, FAR)[0]

    def last(self, run_id: str) -> int:
        """Return the number of a run's last event; -1 where the run is not known."""
        return self.batches[run_id].last.sequence if run_id in self.batches else -1

    def check(self) -> None:
        """Each run has what it said: without a hole to its last event, nothing else, and nothing twice."""
        for run_id, batch in self.batches.items():
            numbers = range(batch.first, batch.last.sequence + 1)
            assert texts(batch.events) == [text_of(run_id, number) for number in numbers]
            assert batch.last.sequence <= SAID[run_id]
            assert batch.complete == (batch.last == Position(1, EVENTS + 1))
            assert self.reader.messages([run_id]) == ["hello"]
        assert self.reader._db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        remembered = [Exchange("?", "!")] if self.last(RUN) == SAID[RUN] else []
        assert self.reader.history("alice", RUN) == remembered
        assert self.reader._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def goes_on(self) -> None:
        """Its open runs take the event that follows, and that one alone."""
        opened = [run_id for run_id, batch in self.batches.items() if not batch.complete]
        with self.writer.transaction():
            for run_id in opened:
                last = self.last(run_id)
                gap = self.writer.write(Append(run_id, 1, last + 2, payloads(1, 1)))
                assert gap == (AppendStatus.GAP, last + 1)
                assert (
                    self.writer.write(Append(run_id, 1, last + 1, payloads(1, 1))).status is AppendStatus.OK
                )

    def close(self) -> None:
        """Close the file."""
        self.reader.close_file()
        self.writer.close_file()


def check_answers(found: Found, left: Left) -> None:
    """What was answered is there."""
    assert not [line for line in found.answered if line.startswith("error")]
    for line in found.answered:
        run_id, number, *end = line.split()
        if run_id in SAID:
            assert left.last(run_id) >= int(number), f"{line!r} was lost"
            assert left.batches[run_id].complete or not end


def test_killed_before_any_step_nothing_is_lost_that_was_answered(killed: Victims, tmp_path: Path) -> None:
    """Of creations, turns, chunks, a trim, an end, a checkpoint: before each of them, within, after it."""
    seen: Counter[str] = Counter()
    whole = killed.run("talk", tmp_path / "whole.db")
    assert whole.code == 0
    assert whole.answered[-2] == f"{RUN} {EVENTS + 1} end"
    for step in range(1, whole.steps + 1):
        path = tmp_path / f"{step}.db"
        found = killed.run("talk", path, step)
        assert found.killed or step > whole.steps - 20  # Threads do not always take the same number of steps.
        left = Left(path)
        check_answers(found, left)
        left.check()
        seen["rows in the journal"] += left.journal_rows > 0
        seen["trimmed"] += RUN in left.batches and left.batches[RUN].first > 1
        seen["ended"] += RUN in left.batches and left.batches[RUN].complete
        left.goes_on()
        left.close()
    assert min(seen.values()) > 1, seen


def test_killed_while_it_recovers_the_next_one_begins_again(killed: Victims, tmp_path: Path) -> None:
    """Before each of its steps; what it finds in the end is the same."""
    killed.run("talk", tmp_path / "killed.db", 110)
    expected = Left(copied(tmp_path / "killed.db", tmp_path / "expected"))
    assert expected.journal_rows
    expected.close()
    step, found = 0, Found(-9, [])
    while found.killed or not step:
        step += 1
        path = copied(tmp_path / "killed.db", tmp_path / str(step))
        found = killed.run("recover", path, step)
        left = Left(path)
        left.check()
        assert left.batches == expected.batches
        left.close()
    assert step > 5


@pytest.mark.parametrize("step", [80, 150])
def test_a_write_ahead_log_that_ends_anywhere_is_a_prefix(killed: Victims, tmp_path: Path, step: int) -> None:
    """As a power failure leaves it: cut at the border of each frame and in between, or with a wrong bit.

    Once where all is in it, the schema too; once where it was begun anew after a checkpoint.
    """
    killed.run("talk", tmp_path / "killed.db", step)
    whole = Path(f"{tmp_path}/killed.db-wal").read_bytes()
    borders = [border + aside for border in range(32, len(whole), 24 + 4096) for aside in (-1, 0, 1)]
    cuts = sorted({0, *borders, *range(5, len(whole), 1_511), len(whole)})
    lasts = [cut(tmp_path, whole[:end], end) for end in cuts]
    for earlier, later in pairwise(lasts):
        assert all(first <= second for first, second in zip(earlier, later, strict=True))
    assert sum(lasts[-1]) > sum(lasts[0]) + 10
    assert (lasts[0] == (-1, -1, -1)) == (step == 80)
    for place in range(40, len(whole), 9_001):
        wrong = bytearray(whole)
        wrong[place] ^= 8
        assert cut(tmp_path, bytes(wrong), -place) <= lasts[-1]


def cut(place: Path, wal: bytes, name: int) -> tuple[int, ...]:
    """Return each run's last event, where the write-ahead log is this one."""
    path = place / f"cut{name}.db"
    shutil.copy(place / "killed.db", path)
    Path(f"{path}-wal").write_bytes(wal)
    left = Left(path)
    left.check()
    left.close()
    path.unlink()
    return tuple(left.last(run_id) for run_id in SAID)


def torn(turn: bytes, checksum: int) -> tuple[bytes, int]:
    return turn[:-1], checksum


def torn_with_its_checksum(turn: bytes, _: int) -> tuple[bytes, int]:
    return turn[:-7], zlib.crc32(turn[:-7])


def wrong(turn: bytes, checksum: int) -> tuple[bytes, int]:
    return turn[:-1] + b"?", checksum


@pytest.mark.parametrize("damage", [torn, torn_with_its_checksum, wrong, None])
def test_a_damaged_row_of_the_journal_is_said_and_costs_what_it_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes, int], tuple[bytes, int]] | None
) -> None:
    """Runs that were in it end before it; others lose nothing. None is a row that is not there at all."""
    writer = open_writer(tmp_path / "open.db")
    with writer.transaction():
        for run_id in SAID:
            writer.create(record(run_id, session=run_id, message="hello"))
    for number in range(1, 8):
        for run_ids in ((RUN, THIRD) if number == 1 else (RUN,), (OTHER,)):
            turn = [Append(run_id, 1, number, [payload(text_of(run_id, number))]) for run_id in run_ids]
            assert writer.write_alone(turn) is not None
    path = copied(tmp_path / "open.db", tmp_path / "found")
    writer.close_file()
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT id, turn, checksum FROM journal ORDER BY id").fetchall()
        turn_id, *row = rows[6]
        if damage is None:
            db.execute("DELETE FROM journal WHERE id = ?", (turn_id,))
        else:
            db.execute("UPDATE journal SET turn = ?, checksum = ? WHERE id = ?", (*damage(*row), turn_id))
    db.close()
    left = Left(path)
    left.check()
    assert [left.last(run_id) for run_id in (RUN, OTHER, THIRD)] == [3, 7, 1]
    said = [line.getMessage() for line in caplog.records]
    assert said[-1] == "1 runs lack events that were logged: they end before these"
    assert [line.startswith(f"turn {turn_id} of the log is lost") for line in said[:-1]] == [True][
        : len(said) - 1
    ]
    assert len(said) == (1 if damage is None else 2)
    left.goes_on()
    left.close()
