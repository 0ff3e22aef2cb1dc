"""Who may keep how much in a store, and what goes first where that is too much. Pure.

A store counts here what it holds for whom, and is asked to give up this or that. What is kept for a
principal stays within a share, so that nothing she does keeps others from starting runs; and where all
together is too much, who holds the most gives up first, so that nothing she does shortens what is kept
for those who hold less.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, NamedTuple, Protocol

from agent_core.log.budget import LogBudget, beyond_floor
from agent_core.log.errors import LogFullError, PrincipalLogFullError

EVERYBODY: Final = ""
"""The one account where principals have no shares."""


class Live(NamedTuple):
    """An account's runs that go on."""

    runs: int
    """How many they are."""
    message_bytes: int
    """What their messages need beside the shortest rings."""


class Holder(Protocol):
    """A store, asked to give something up: each method but the first says whether there was something."""

    def live(self, account: str) -> Live:
        """Return which runs of an account go on."""

    def drop_ended(self, account: str) -> bool:
        """Forget the ended run that ended first, of those that nobody reads."""

    def drop_said(self, account: str) -> bool:
        """Forget what the session remembers that was used least lately."""

    def shorten(self, account: str, least_bytes: int) -> bool:
        """Drop the oldest quarter of the largest run, of those above some bytes; never its newest event."""


class Ledger:
    """How much is held for each account."""

    def __init__(self) -> None:
        self.total = 0
        """For all of them."""
        self._held: dict[str, int] = {}

    def add(self, account: str, size_bytes: int) -> None:
        """Count some bytes more, or less."""
        self.total += size_bytes
        held = self._held.get(account, 0) + size_bytes
        if held:
            self._held[account] = held
        else:
            self._held.pop(account, None)

    def of(self, account: str) -> int:
        """Return what is held for one account."""
        return self._held.get(account, 0)

    def heaviest(self, spared: Container[str] = ()) -> str | None:
        """Return the account that holds the most; None where nothing is held but for those spared."""
        held = (account for account in self._held if account not in spared)
        return max(held, key=self._held.__getitem__, default=None)


class Shares:
    """Keeps a store within its budget, and each principal within hers.

    Args:
        budget: How much is kept.
        holder: Gives up what is too much.
    """

    def __init__(self, budget: LogBudget, holder: Holder) -> None:
        self._budget = budget
        self._holder = holder
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.held = Ledger()
        """Everything."""
        self.said = Ledger()
        """What sessions remember, which is a part of it."""

    def account_of(self, owner: str) -> str:
        """Return the account on which a principal's runs and sessions are."""
        return owner if self._budget.principal_bytes else EVERYBODY

    def add_said(self, account: str, size_bytes: int) -> None:
        """Count what a session remembers more, or less."""
        self.held.add(account, size_bytes)
        self.said.add(account, size_bytes)

    def admit(self, account: str, message_bytes: int) -> None:
        """Make room for one more run.

        Args:
            account: Whose run it is.
            message_bytes: What the user said.

        Raises:
            PrincipalLogFullError: The principal's live runs need all that she may have.
            LogFullError: There is no room in all.
        """
        budget = self._budget
        most, least = budget.principal_bytes, budget.floor_bytes
        if most:
            live = self._holder.live(account)
            if (live.runs + 1) * least + live.message_bytes + beyond_floor(message_bytes) > most:
                raise PrincipalLogFullError
        room_bytes = budget.total_bytes - budget.run_bytes
        # An empty store that has room for a ring takes a run, whatever its message.
        room_bytes = min(room_bytes, max(0, room_bytes - message_bytes))
        if not self._shed_heaviest(room_bytes, least, rings=bool(most)):
            raise LogFullError

    def take(self, account: str, size_bytes: int) -> None:
        """Count what was written, and give up what is too much then."""
        self.held.add(account, size_bytes)
        if self._budget.principal_bytes or self.held.total > self._budget.total_bytes:
            self.keep(account)

    def keep(self, account: str) -> None:
        """Give up what is too much after something was written."""
        budget = self._budget
        most = budget.principal_bytes
        while 0 < most < self.held.of(account) and self._give_up(account, 0, rings=True):
            pass
        if self.held.total > budget.total_bytes:
            self._shed_heaviest(budget.total_bytes, 0, rings=True)

    def keep_said(self, account: str) -> None:
        """Give up what is too much of what sessions remember."""
        budget, drop = self._budget, self._holder.drop_said
        most = budget.principal_sessions_bytes
        while most and self.said.of(account) > most and drop(account):
            pass
        while self.said.total > budget.sessions_bytes and drop(self.said.heaviest() or EVERYBODY):
            pass

    def _shed_heaviest(self, room_bytes: int, least_bytes: int, *, rings: bool) -> bool:
        """Return whether all hold no more than some bytes now."""
        spared: set[str] = set()
        while self.held.total > room_bytes:
            account = self.held.heaviest(spared)
            if account is None:
                return False
            if not self._give_up(account, least_bytes, rings=rings):
                spared.add(account)
        return True

    def _give_up(self, account: str, least_bytes: int, *, rings: bool) -> bool:
        """Return whether something was given up: what is over before what goes on."""
        holder = self._holder
        return (
            holder.drop_ended(account)
            or holder.drop_said(account)
            or (rings and holder.shorten(account, least_bytes))
        )
