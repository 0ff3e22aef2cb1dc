"""What the store `sqlite:PATH` writes of sessions: in the transactions of `writer.py`."""

from __future__ import annotations

from typing import Final

from agent_core.log.budget import LogBudget
from agent_core.log.encoding import NANO
from agent_core.log.errors import SessionBusyError
from agent_core.log.records import Exchange, RunRecord, exchange_bytes
from agent_core.log.shares import Shares
from agent_core.log.sqlite.transaction import Transaction

SESSION_OVERHEAD_BYTES: Final = 1024
"""What a session costs in the file besides what was said in it, about."""

EXPIRED_AT_ONCE: Final = 32
"""The most expired sessions, and runs, that one sweep deletes: appends wait meanwhile."""


class SessionWriter:
    """Writes what sessions remember.

    Args:
        transaction: What is written.
        budget: How much they remember, and how long.
        shares: Counts what they remember, and says what is too much.
    """

    def __init__(self, transaction: Transaction, budget: LogBudget, shares: Shares) -> None:
        self._transaction = transaction
        self._budget = budget
        self._shares = shares

    def load(self) -> None:
        """Read from the file how much is remembered."""
        counted = self._transaction.read(
            "SELECT owner, count(*), sum(size_bytes) FROM sessions GROUP BY owner"
        )
        for owner, count, size in counted:
            self._add(owner, count * SESSION_OVERHEAD_BYTES + size)

    def require_idle(self, record: RunRecord) -> None:
        """Return if no run of a run's session goes on.

        Raises:
            SessionBusyError: One does.
        """
        # What is said twice here lets SQLite use the index.
        live = self._transaction.read(
            "SELECT run_id FROM runs WHERE session_id = ? AND session_id <> '' AND owner = ? "
            "AND outcome IS NULL",
            (record.session_id, record.owner),
        ).fetchone()
        if live is not None:
            raise SessionBusyError(live[0])

    def remember(self, run: int, exchange: Exchange, unix_nano: int) -> None:
        """Keep what was said in a run, and drop the oldest that is too much.

        Args:
            run: The run's row.
            exchange: What was said.
            unix_nano: Now.
        """
        budget, size = self._budget, exchange_bytes(exchange)
        key = self._transaction.read("SELECT owner, session_id FROM runs WHERE id = ?", (run,)).fetchone()
        if not key[1] or size > budget.session_bytes or not budget.session_exchanges:
            return
        session = self._session(key, unix_nano)
        self._transaction.execute(
            "INSERT INTO exchanges (session, question, answer, size_bytes) VALUES (?, ?, ?, ?)",
            (session, *exchange, size),
        )
        self._transaction.execute(
            "UPDATE sessions SET size_bytes = size_bytes + ?, expire_unix_nano = ? WHERE id = ?",
            (size, unix_nano + int(budget.session_retention_s * NANO), session),
        )
        self._add(key[0], size - self._drop_too_much(session))
        self._shares.keep_said(self._shares.account_of(key[0]))
        self.sweep(unix_nano)

    def sweep(self, unix_nano: int) -> None:
        """Forget some of what sessions remember, each as a whole, where it has expired.

        Args:
            unix_nano: Now.
        """
        expired = self._transaction.read(
            "SELECT id, owner, size_bytes FROM sessions WHERE expire_unix_nano <= ? LIMIT ?",
            (unix_nano, EXPIRED_AT_ONCE),
        ).fetchall()
        for session, owner, size in expired:
            self._forget(session, owner, size)

    def drop_oldest(self, account: str) -> bool:
        """Forget what an account's least lately used session remembers. False where none does."""
        where = "WHERE owner = ?" if self._budget.principal_bytes else ""
        oldest = self._transaction.read(
            f"SELECT id, owner, size_bytes FROM sessions {where} ORDER BY expire_unix_nano LIMIT 1",  # noqa: S608 # our own words
            (account,) if where else (),
        ).fetchone()
        if oldest is not None:
            self._forget(*oldest)
        return oldest is not None

    def _session(self, key: tuple[str, str], unix_nano: int) -> int:
        """Return the row of a session: a new one where it remembers nothing, or nothing any more."""
        found = self._transaction.read(
            "SELECT id, size_bytes, expire_unix_nano FROM sessions WHERE owner = ? AND session_id = ?", key
        ).fetchone()
        if found is not None and found[2] > unix_nano:
            return int(found[0])
        if found is not None:
            self._forget(found[0], key[0], found[1])
        row = self._transaction.execute(
            "INSERT INTO sessions (owner, session_id, size_bytes, expire_unix_nano) VALUES (?, ?, 0, 0)", key
        ).lastrowid
        assert row is not None  # noqa: S101 # for the type checker
        self._add(key[0], SESSION_OVERHEAD_BYTES)
        return row

    def _drop_too_much(self, session: int) -> int:
        """Drop a session's oldest exchanges that are too much. Return their bytes."""
        kept = self._transaction.read(
            "SELECT id, size_bytes FROM exchanges WHERE session = ? ORDER BY id DESC", (session,)
        ).fetchall()
        count, left = 0, self._budget.session_bytes
        for _, size in kept[: self._budget.session_exchanges]:
            left -= size
            if left < 0:
                break
            count += 1
        dropped = kept[count:]
        dropped_bytes: int = sum(size for _, size in dropped)
        if dropped:
            self._transaction.execute(
                "DELETE FROM exchanges WHERE session = ? AND id <= ?", (session, dropped[0][0])
            )
            self._transaction.execute(
                "UPDATE sessions SET size_bytes = size_bytes - ? WHERE id = ?", (dropped_bytes, session)
            )
        return dropped_bytes

    def _forget(self, session: int, owner: str, size: int) -> None:
        """Forget what a session remembers."""
        self._transaction.execute("DELETE FROM exchanges WHERE session = ?", (session,))
        self._transaction.execute("DELETE FROM sessions WHERE id = ?", (session,))
        self._add(owner, -SESSION_OVERHEAD_BYTES - size)

    def _add(self, owner: str, size: int) -> None:
        """Count what is remembered more, or less."""
        account = self._shares.account_of(owner)
        self._shares.add_said(account, size)
        self._transaction.on_undo(self._shares.add_said, account, -size)
