"""How much a core lets there be at a time: runs, starts and follows. Pure.

What is taken is given back in one place each: a run's by the manager when it has ended, a follow's when
its call has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from agent_core.errors import LimitReachedError
from tokenwire.limits import Limit, OverLimitError, Slots, StartRate
from tokenwire.reasons import Reason

SLOT_RETRY_S: Final = 1.0
"""When to try again where something else has to end first: nobody knows when it will."""

RUNS: Final[dict[Limit, tuple[Reason, str]]] = {
    "all": (Reason.RUNS_LIMIT, "max_runs"),
    "principal": (Reason.PRINCIPAL_RUNS_LIMIT, "max_principal_runs"),
    "rate": (Reason.START_RATE_LIMIT, "max_principal_starts_per_minute"),
}
FOLLOWS: Final[dict[Limit, tuple[Reason, str]]] = {
    "all": (Reason.FOLLOWS_LIMIT, "max_follows"),
    "principal": (Reason.PRINCIPAL_FOLLOWS_LIMIT, "max_principal_follows"),
}
"""The reason of each refusal, and the name of the limit."""


class CoreLimits(NamedTuple):
    """The most there may be at a time; 0 for no limit."""

    max_runs: int = 10_000
    max_principal_runs: int = 100
    max_starts_per_minute: int = 120
    """Of each principal: so many at once, after a rest of a minute."""
    max_follows: int = 20_000
    max_principal_follows: int = 200


class Limiter:
    """Lets runs be started and followed, within the limits of one core.

    Args:
        limits: The most there may be.
        principals: Whether callers prove who they are. Where they do not, all of them are one principal,
            and only the limits for all hold.
    """

    def __init__(self, limits: CoreLimits | None = None, *, principals: bool = False) -> None:
        given = limits or CoreLimits()
        if not principals:
            given = given._replace(max_principal_runs=0, max_starts_per_minute=0, max_principal_follows=0)
        self.runs = Slots(given.max_runs, given.max_principal_runs)
        """The runs that go on."""
        self.follows = Slots(given.max_follows, given.max_principal_follows)
        """The streams that are open."""
        self.starts = StartRate(given.max_starts_per_minute, given.max_starts_per_minute)
        """The runs that were started lately."""

    def start_run(self, principal: str, now_s: float) -> None:
        """Take a run's place, and one start of its principal's.

        Args:
            principal: Who starts it.
            now_s: Now, in seconds of the monotonic clock.

        Raises:
            LimitReachedError: There is none. Nothing was taken.
        """
        with _refusing(RUNS):
            self.runs.take(principal)
            try:
                self.starts.take(principal, now_s)
            except OverLimitError:
                self.runs.release(principal)
                raise

    def end_run(self, principal: str, *, repeated: bool) -> None:
        """Give a run's place back.

        Args:
            principal: Who started it.
            repeated: It started nothing: an earlier run stood for its request. Then its start is given
                back too.
        """
        self.runs.release(principal)
        if repeated:
            self.starts.give_back(principal)

    @contextmanager
    def follow(self, principal: str) -> Iterator[None]:
        """Have a place for one follow as long as the block lasts.

        Raises:
            LimitReachedError: There is none.
        """
        self.start_follow(principal)
        try:
            yield
        finally:
            self.end_follow(principal)

    def start_follow(self, principal: str) -> None:
        """Take a follow's place. It is the caller's to give back.

        Raises:
            LimitReachedError: There is none. Nothing was taken.
        """
        with _refusing(FOLLOWS):
            self.follows.take(principal)

    def end_follow(self, principal: str) -> None:
        """Give a follow's place back."""
        self.follows.release(principal)


@contextmanager
def _refusing(names: dict[Limit, tuple[Reason, str]]) -> Iterator[None]:
    """Say in the core's own words that a limit was reached.

    Raises:
        LimitReachedError: It was.
    """
    try:
        yield
    except OverLimitError as error:
        reason, name = names[error.limit]
        raise LimitReachedError(reason, name, error.most, error.retry_after_s or SLOT_RETRY_S) from error
