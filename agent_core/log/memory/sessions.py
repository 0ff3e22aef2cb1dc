"""The sessions of a log in memory: their runs, and what they remember."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from agent_core.log.budget import LogBudget
from agent_core.log.encoding import NANO
from agent_core.log.records import Exchange, RunRecord
from agent_core.log.shares import Shares

SESSION_OVERHEAD_BYTES: Final = 768
"""What a session that remembers something costs in memory besides it: measured with tracemalloc on
CPython 3.11, with names of 20 characters."""

EXCHANGE_OVERHEAD_BYTES: Final = 160
"""What an exchange costs in memory besides its text: measured likewise."""

Key: TypeAlias = tuple[str, str]
"""An owner and a session of his."""


@dataclass(slots=True, eq=False)
class _Session:
    """One principal's session."""

    runs: dict[str, None] = field(default_factory=dict)
    """The ids of its runs that the log knows."""
    live: str = ""
    """The run that goes on; empty for none."""
    exchanges: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What was said, in UTF-8: text in memory may take four times as much."""
    text_bytes: int = 0
    """The bytes of what was said."""
    expire_unix_nano: int = 0
    """When that is forgotten."""

    @property
    def size_bytes(self) -> int:
        """What it costs in memory to remember it, about."""
        count = len(self.exchanges)
        return SESSION_OVERHEAD_BYTES + self.text_bytes + EXCHANGE_OVERHEAD_BYTES * count if count else 0


class MemorySessions:
    """All sessions of a log. One is forgotten with its last run and what it remembers.

    Args:
        budget: How much they remember, and how long.
        shares: Counts what they remember, and says what is too much.
    """

    def __init__(self, budget: LogBudget, shares: Shares) -> None:
        self._budget = budget
        self._shares = shares
        self._sessions: dict[Key, _Session] = {}
        # Both in the order of their last exchanges: all, and those of each account.
        self._remembering: dict[Key, _Session] = {}
        self._of_account: defaultdict[str, dict[Key, None]] = defaultdict(dict)

    @property
    def size_bytes(self) -> int:
        """What it costs in memory to remember all that they do."""
        return self._shares.said.total

    def live(self, record: RunRecord) -> str:
        """Return the run that goes on in a run's session; empty for none."""
        session = self._sessions.get((record.owner, record.session_id))
        return session.live if session is not None else ""

    def begin(self, record: RunRecord) -> None:
        """Take in a run that goes on. One of no session changes nothing, here and below."""
        if record.session_id:
            session = self._sessions.setdefault((record.owner, record.session_id), _Session())
            session.runs[record.run_id] = None
            session.live = record.run_id

    def end(self, record: RunRecord) -> None:
        """Let another run of a run's session begin."""
        session = self._sessions.get((record.owner, record.session_id))
        if session is not None and session.live == record.run_id:
            session.live = ""

    def forget_run(self, record: RunRecord) -> None:
        """Take a run that the log does not know any more out of its session."""
        key = (record.owner, record.session_id)
        session = self._sessions.get(key)
        if session is not None:
            self.end(record)
            session.runs.pop(record.run_id, None)
            self._drop_empty(key, session)

    def run_ids(self, owner: str, session_id: str) -> list[str]:
        """Return a session's runs, in the order of their creation."""
        session = self._sessions.get((owner, session_id))
        return list(session.runs) if session is not None else []

    def remember(self, record: RunRecord, exchange: Exchange, unix_nano: int) -> None:
        """Keep what was said in a run, and drop the oldest that is too much.

        Args:
            record: The run's.
            exchange: What was said.
            unix_nano: Now.
        """
        budget = self._budget
        said = (exchange.question.encode(), exchange.answer.encode())
        text_bytes = len(said[0]) + len(said[1])
        if not record.session_id or text_bytes > budget.session_bytes or not budget.session_exchanges:
            return
        self.sweep(unix_nano)  # What it remembered may have expired.
        key = (record.owner, record.session_id)
        session = self._sessions.setdefault(key, _Session())
        before = session.size_bytes
        session.exchanges.append(said)
        session.text_bytes += text_bytes
        while len(session.exchanges) > budget.session_exchanges or session.text_bytes > budget.session_bytes:
            session.text_bytes -= sum(map(len, session.exchanges.pop(0)))
        session.expire_unix_nano = unix_nano + int(budget.session_retention_s * NANO)
        account = self._shares.account_of(record.owner)
        self._remembering.pop(key, None)
        self._remembering[key] = session
        self._of_account[account].pop(key, None)
        self._of_account[account][key] = None
        self._shares.add_said(account, session.size_bytes - before)
        self._shares.keep_said(account)

    def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        session = self._sessions.get((owner, session_id))
        said = session.exchanges if session is not None else []
        return [Exchange(question.decode(), answer.decode()) for question, answer in said]

    def sweep(self, unix_nano: int) -> None:
        """Forget what sessions remember, each as a whole, where it has expired.

        Args:
            unix_nano: Now.
        """
        while self._remembering:
            key, session = next(iter(self._remembering.items()))
            if session.expire_unix_nano > unix_nano:
                return
            self._forget(key)

    def drop_oldest(self, account: str) -> bool:
        """Forget what an account's least lately used session remembers. False where none does."""
        oldest = next(iter(self._of_account[account]), None) if account in self._of_account else None
        if oldest is None:
            return False
        self._forget(oldest)
        return True

    def _forget(self, key: Key) -> None:
        """Forget what a session remembers."""
        session = self._remembering.pop(key)
        account = self._shares.account_of(key[0])
        del self._of_account[account][key]
        if not self._of_account[account]:
            del self._of_account[account]
        self._shares.add_said(account, -session.size_bytes)
        session.exchanges.clear()
        session.text_bytes = 0
        self._drop_empty(key, session)

    def _drop_empty(self, key: Key, session: _Session) -> None:
        """Forget a session of which nothing is left."""
        if not session.runs and not session.exchanges:
            del self._sessions[key]
