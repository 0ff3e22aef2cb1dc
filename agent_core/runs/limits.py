"""How much there may be at a time: runs, starts and follows, for each principal and in all. Pure.

What is taken is given back in one place each: a run's by the manager when it has ended, a follow's when
its call has. Nothing is kept of a principal who has nothing and has started nothing for a minute.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from agent_core.errors import LimitReachedError

MINUTE_S: Final = 60.0

SLOT_RETRY_S: Final = 1.0
"""When to try again where something else has to end first: nobody knows when it will."""


class CoreLimits(NamedTuple):
    """The most there may be at a time; 0 for no limit."""

    max_runs: int = 10_000
    max_principal_runs: int = 100
    max_starts_per_minute: int = 120
    """Of each principal."""
    max_follows: int = 20_000
    max_principal_follows: int = 200


class Slots:
    """Counts what there is, for each principal and in all.

    Args:
        reason: What a refusal's reason begins with, in UPPER_SNAKE.
        total: The name of the limit for all, and how much it allows.
        principal: The same for each principal.
    """

    def __init__(self, reason: str, total: tuple[str, int], principal: tuple[str, int]) -> None:
        self.taken = 0
        """How many there are."""
        self.of: Counter[str] = Counter()
        """How many each principal has. Who has none is not in it."""
        self._reason = reason
        self._total = total
        self._principal = principal

    def take(self, principal: str) -> None:
        """Count one more.

        Raises:
            LimitReachedError: There are as many as there may be. Nothing was counted.
        """
        self._require_room("PRINCIPAL_", self._principal, self.of.get(principal, 0))
        self._require_room("", self._total, self.taken)
        self.of[principal] += 1
        self.taken += 1

    def give_back(self, principal: str) -> None:
        """Count one less."""
        self.taken -= 1
        self.of[principal] -= 1
        if not self.of[principal]:
            del self.of[principal]

    def _require_room(self, whose: str, limit: tuple[str, int], taken: int) -> None:
        name, most = limit
        if most and taken >= most:
            raise LimitReachedError(f"{whose}{self._reason}_LIMIT", name, most, SLOT_RETRY_S)


class Starts:
    """A bucket of starts for each principal: full at first, and full again after a minute.

    Args:
        per_minute: How many a bucket holds; 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._rate = per_minute / MINUTE_S
        # How many are left, and when that was so. In the order of that time.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return of how many principals something is kept."""
        return len(self._left)

    def take(self, principal: str, now_s: float) -> None:
        """Take one start.

        Args:
            principal: Whose.
            now_s: Now, in seconds of the monotonic clock.

        Raises:
            LimitReachedError: There is none left; it says when there will be. Nothing was taken.
        """
        if not self._most:
            return
        self._forget(now_s)
        left = self._now(principal, now_s)
        if left < 1:
            retry_s = (1 - left) / self._rate
            raise LimitReachedError(
                "START_RATE_LIMIT", "max_principal_starts_per_minute", self._most, retry_s
            )
        self._set(principal, left - 1, now_s)

    def give_back(self, principal: str, now_s: float) -> None:
        """Put one back: nothing was started."""
        if principal in self._left:
            self._set(principal, min(float(self._most), self._now(principal, now_s) + 1), now_s)

    def _now(self, principal: str, now_s: float) -> float:
        """Return how many a principal has left now."""
        left, then_s = self._left.get(principal, (float(self._most), now_s))
        return min(float(self._most), left + (now_s - then_s) * self._rate)

    def _set(self, principal: str, left: float, now_s: float) -> None:
        """Note how many a principal has left."""
        self._left[principal] = (left, now_s)
        self._left.move_to_end(principal)

    def _forget(self, now_s: float) -> None:
        """Drop buckets that are certainly full again."""
        while self._left:
            principal, (_, then_s) = next(iter(self._left.items()))
            if now_s - then_s < MINUTE_S:
                return
            del self._left[principal]


class Limiter:
    """Lets runs be started and followed, within the limits of one core.

    Args:
        limits: The most there may be.
        principals: Whether callers prove who they are. Where they do not, all of them are one principal,
            and only the limits for all hold.
    """

    def __init__(self, limits: CoreLimits | None = None, *, principals: bool = False) -> None:
        given = limits or CoreLimits()
        runs, follows, starts = (
            (given.max_principal_runs, given.max_principal_follows, given.max_starts_per_minute)
            if principals
            else (0, 0, 0)
        )
        self.runs = Slots("RUNS", ("max_runs", given.max_runs), ("max_principal_runs", runs))
        self.follows = Slots(
            "FOLLOWS", ("max_follows", given.max_follows), ("max_principal_follows", follows)
        )
        self.starts = Starts(starts)

    def start_run(self, principal: str, now_s: float) -> None:
        """Take a run's place, and one start of its principal's.

        Args:
            principal: Who starts it.
            now_s: Now, in seconds of the monotonic clock.

        Raises:
            LimitReachedError: There is none. Nothing was taken.
        """
        self.runs.take(principal)
        try:
            self.starts.take(principal, now_s)
        except LimitReachedError:
            self.runs.give_back(principal)
            raise

    def end_run(self, principal: str, now_s: float, *, repeated: bool) -> None:
        """Give a run's place back.

        Args:
            principal: Who started it.
            now_s: Now, in seconds of the monotonic clock.
            repeated: It started nothing: an earlier run stood for its request. Then its start is given
                back too.
        """
        self.runs.give_back(principal)
        if repeated:
            self.starts.give_back(principal, now_s)

    @contextmanager
    def follow(self, principal: str) -> Iterator[None]:
        """Have a place for one follow as long as the block lasts.

        Raises:
            LimitReachedError: There is none.
        """
        self.follows.take(principal)
        try:
            yield
        finally:
            self.follows.give_back(principal)
