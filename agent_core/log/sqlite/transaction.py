"""One transaction after the other on the connection that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

STATEMENT_BYTES: Final = 2 * 4096
"""What a statement writes into the write-ahead log besides BLOBs, about: a page of a table, one of an index."""


class Transaction:
    """Begins when something is written, and is undone as a whole: in the file and in memory.

    SQLite needs one statement alone no transaction around it: each statement less is one time less that
    this thread has to wait for the interpreter.

    Args:
        db: The connection that writes.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._begun = False
        self._undo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.written_bytes = 0
        """What was written since this was set to 0, about."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Write something that stands or falls with what else is written until `commit`."""
        if not self._begun:
            self._db.execute("BEGIN IMMEDIATE")
            self._begun = True
        self.written_bytes += STATEMENT_BYTES
        return self._db.execute(statement, values)

    def execute_last(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Write the last that is written until `commit`: where it is the first, too, it is committed now."""
        self.written_bytes += STATEMENT_BYTES
        self._db.execute(statement, values)

    def read(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Return rows of the file, with what was written since `commit`."""
        return self._db.execute(query, values)

    def on_undo(self, do: Callable[..., object], *arguments: Any) -> None:
        """Have something done where the transaction is undone: the last that was said is done first."""
        self._undo.append((do, arguments))

    def commit(self) -> None:
        """Keep what was done."""
        if self._begun:
            self._db.execute("COMMIT")
            self._begun = False
        self._undo.clear()

    def roll_back(self) -> None:
        """Undo what was done."""
        if self._begun:
            self._begun = False
            # A full disk may have ended the transaction already.
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
        while self._undo:
            do, arguments = self._undo.pop()
            do(*arguments)
