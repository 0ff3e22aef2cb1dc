"""How much there may be of something at a time, and how often: for each principal, and in all. Pure.

The edge counts streams with it, the core runs and follows; both count starts. Nothing is kept of a principal
who has nothing and has started nothing lately.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, Literal, TypeAlias

MINUTE_S: Final = 60.0

SHARE_LOST: Final = "one principal could use it all and lock out the others"


def require_share(principal: str, most: int, total: str, most_in_all: int) -> None:
    """Return if one principal may have less than there is in all; 0 is no limit.

    Args:
        principal: The variable of the most that a principal may have.
        most: Its value.
        total: The variable of the most in all.
        most_in_all: Its value.

    Raises:
        ValueError: She may have it all. The text names both variables.
    """
    if 0 < most_in_all <= most:
        raise ValueError(f"{principal} ({most}) must be less than {total} ({most_in_all}): {SHARE_LOST}")


def unlimited_share(principal: str, most: int, total: str, most_in_all: int) -> list[str]:
    """Return what to warn of where a principal has no limit, though there is one in all.

    Args:
        principal: The variable of the most that a principal may have.
        most: Its value.
        total: The variable of the most in all.
        most_in_all: Its value.
    """
    if most or not most_in_all:
        return []
    return [f"{principal} is 0 (no limit), and {total} is {most_in_all}: {SHARE_LOST}"]


Limit: TypeAlias = Literal["principal", "all", "rate"]


class OverLimitError(Exception):
    """There is no room for one more. Nothing was taken.

    Args:
        limit: Which limit it is: of one principal, of all, or how often.
        most: How much it allows.
        retry_after_s: When there is room again; None where something has to end first.
    """

    def __init__(self, limit: Limit, most: int, retry_after_s: float | None = None) -> None:
        super().__init__(f"{limit}: {most}")
        self.limit: Limit = limit
        self.most = most
        self.retry_after_s = retry_after_s


class Slots:
    """What there is at a time.

    Args:
        in_all: The most of all principals; 0 for no limit.
        per_principal: The most of each; 0 for no limit.
    """

    def __init__(self, in_all: int, per_principal: int) -> None:
        self.in_use = 0
        """How many there are."""
        self._in_all = in_all
        self._per_principal = per_principal
        self._held: Counter[str] = Counter()

    def held_by(self, principal: str) -> int:
        """Return how many a principal has."""
        return self._held.get(principal, 0)

    @property
    def principals(self) -> int:
        """How many principals have any."""
        return len(self._held)

    def take(self, principal: str) -> None:
        """Take one. It is the caller's to release.

        Args:
            principal: Whose it will be.

        Raises:
            OverLimitError: There is none.
        """
        if self._per_principal and self.held_by(principal) >= self._per_principal:
            raise OverLimitError("principal", self._per_principal)
        if self._in_all and self.in_use >= self._in_all:
            raise OverLimitError("all", self._in_all)
        self._held[principal] += 1
        self.in_use += 1

    def release(self, principal: str) -> None:
        """Give one back.

        Args:
            principal: Who took it.
        """
        self.in_use -= 1
        self._held[principal] -= 1
        if not self._held[principal]:
            del self._held[principal]


class StartRate:
    """How often principals start something: a bucket of `burst` starts for each, filled at a steady rate.

    Of each bucket only the time is kept at which it will be full again; one that is full is forgotten.

    Args:
        per_minute: The rate; 0 for any.
        burst: What a full bucket holds.

    Source: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """

    def __init__(self, per_minute: float, burst: int) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._full_at: OrderedDict[str, float] = OrderedDict()

    @property
    def principals(self) -> int:
        """How many principals are remembered: those that started something lately."""
        return len(self._full_at)

    def take(self, principal: str, now_s: float) -> None:
        """Count a start.

        Args:
            principal: Whose.
            now_s: The time, in seconds of a clock that never goes back.

        Raises:
            OverLimitError: It is too soon.
        """
        if not self._per_minute:
            return
        self._forget_full(now_s)
        every_s = MINUTE_S / self._per_minute
        full_at = max(self._full_at.get(principal, now_s), now_s) + every_s
        wait_s = full_at - now_s - self._burst * every_s
        if wait_s > every_s * 1e-6:  # rounding is no reason to refuse
            raise OverLimitError("rate", int(self._per_minute), wait_s)
        self._full_at[principal] = full_at
        self._full_at.move_to_end(principal)

    def give_back(self, principal: str) -> None:
        """Count a start less: nothing was started.

        Args:
            principal: Whose.
        """
        if principal in self._full_at:
            self._full_at[principal] -= MINUTE_S / self._per_minute

    def _forget_full(self, now_s: float) -> None:
        """Drop full buckets. One that is not keeps those behind it, at most until it is full itself."""
        while self._full_at and next(iter(self._full_at.values())) <= now_s:
            self._full_at.popitem(last=False)
