"""One transaction after the other on the connection that writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

STATEMENT_BYTES: Final = 2 * 4096
"""What a statement writes into the write-ahead log besides BLOBs, about: a page of a table, one of an
index."""

LOCKED_S: Final = 5.0
"""How long another program may keep the file locked."""

LOCKED_AGAIN_S: Final = 0.01
"""How often the lock is tried."""

_PRIMARY: Final = 0xFF
"""The bits of an error's code that say what it is, without why.

Source: https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended_result_codes"""


class NotAloneError(Exception):
    """More is to be done than to write one row."""


class Transaction:
    """What is written together stands or falls together: in the file, and in memory.

    One statement alone needs no transaction around it.

    Args:
        db: The connection that writes.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._alone = False
        self._begun = False
        self._undo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.written_bytes = 0
        """What was written since this was set to 0, about."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep what is done inside, all of it or nothing.

        Raises:
            sqlite3.Error: The file can't be written; another program has locked it for too long.
        """
        try:
            self._begin()
            yield
            self._db.execute("COMMIT")
            self._begun = False
        except BaseException:
            self._roll_back()
            raise
        self.forget_undo()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep what is done inside in memory, if it is one call of `execute_alone` as far as the file goes.

        Raises:
            NotAloneError: It is more, or asks the file. Nothing of it was done.
            sqlite3.Error: The file can't be written now, or is locked. Nothing of it was done.
        """
        self._alone = True
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._alone = False
        self.forget_undo()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Write something together with others."""
        if self._alone:
            raise NotAloneError
        self.written_bytes += STATEMENT_BYTES
        return self._db.execute(statement, values)

    def execute_alone(self, statement: str, values: Sequence[Any]) -> None:
        """Write something: it may be all that is written."""
        self.written_bytes += STATEMENT_BYTES
        self._db.execute(statement, values)

    def read(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Return rows of the file, with what was written so far."""
        if self._alone:
            raise NotAloneError
        return self._db.execute(query, values)

    def on_undo(self, do: Callable[..., object], *arguments: Any) -> None:
        """Have something done where the transaction is undone: the last that was said is done first."""
        self._undo.append((do, arguments))

    def forget_undo(self) -> None:
        """Keep what was done in memory."""
        self._undo.clear()

    def _begin(self) -> None:
        """Begin, and wait for another program that has locked the file."""
        until_s = time.monotonic() + LOCKED_S
        while not self._begun:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._begun = True
            except sqlite3.OperationalError as error:
                locked = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
                if not locked or time.monotonic() > until_s:
                    raise
                time.sleep(LOCKED_AGAIN_S)

    def _roll_back(self) -> None:
        """Undo what was done."""
        if self._begun:
            self._begun = False
            # A full disk may have ended the transaction already.
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
        while self._undo:
            do, arguments = self._undo.pop()
            do(*arguments)
