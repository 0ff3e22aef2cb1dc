"""Limits: of one run, and of a core's runs, starts and follows at a time. Pure.

The limits are a part of the core's settings, which inherit them: each has its default, its bounds and its
text for operators here, and nowhere else. What is taken is given back in one place each: a run's by the
manager when it has ended, a follow's when its call has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import BaseModel, Field

from agent_core.errors import LimitReachedError
from tokenwire.limits import Limit, OverLimitError, Slots, StartRate
from tokenwire.reasons import Reason

SLOT_RETRY_S: Final = 1.0
"""When to try again where something else has to end first: when it will is not known."""

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


class RunLimits(BaseModel, extra="forbid"):
    """How long and how large one run may become. A part of the core's settings."""

    disconnect_grace_s: float = Field(default=30.0, ge=0)
    """How long a run without followers continues if its on_disconnect is grace, in seconds. At least 2 s if
    its last follower lost its connection, or if it has not been followed yet."""

    stop_grace_s: float = Field(default=5.0, ge=0)
    """How long a cancelled agent may take to stop before its run is ended without it, in seconds."""

    run_timeout_s: float = Field(default=3600.0, gt=0)
    """Maximum duration of a run, in seconds."""

    max_input_wait_s: float = Field(default=86_400.0, gt=0)
    """Maximum time that a question of an agent waits for a person's answer, in seconds; a longer timeout is
    cut to this. The time that a run waits does not count against its own time limit."""

    max_run_bytes: int = Field(default=67_108_864, ge=1)
    """Maximum size of the events of one run, in encoded bytes. A run that exceeds it ends in an Error."""

    max_run_events: int = Field(default=1_000_000, ge=1)
    """Maximum number of events of one run. A run that exceeds it ends in an Error."""

    max_run_tool_calls: int = Field(default=256, ge=0)
    """Maximum number of tool calls of one run; 0 means no limit. A run that requests more ends in a Done with
    the finish reason `tool_limit`."""


class CoreLimits(BaseModel, extra="forbid"):
    """How many runs and follows a core accepts at a time. A part of its settings."""

    max_runs: int = Field(default=10_000, ge=0)
    """Maximum number of running runs at this core; 0 means no limit."""

    max_principal_runs: int = Field(default=100, ge=0)
    """Maximum number of running runs per principal at this core; 0 means no limit. The limits per principal
    apply only if callers authenticate."""

    max_principal_starts_per_minute: int = Field(default=120, ge=0)
    """Maximum number of runs that one principal may start per minute at this core; 0 means no limit. After a
    pause, as many may be started at once."""

    max_follows: int = Field(default=20_000, ge=0)
    """Maximum number of open streams (StreamRun, FollowRun, follows of links) at this core; 0 means no
    limit."""

    max_principal_follows: int = Field(default=200, ge=0)
    """Maximum number of open streams per principal at this core; 0 means no limit."""


class Limiter:
    """Lets runs be started and followed, within the limits of one core.

    Args:
        limits: The most there may be; the defaults where it is None.
        principals: Whether callers prove who they are. Where they do not, all of them are one principal,
            and only the limits for all hold.
    """

    def __init__(self, limits: CoreLimits | None = None, *, principals: bool = False) -> None:
        limits = limits or CoreLimits()
        most_starts = limits.max_principal_starts_per_minute if principals else 0
        self.runs = Slots(limits.max_runs, limits.max_principal_runs if principals else 0)
        """The runs that go on."""
        self.follows = Slots(limits.max_follows, limits.max_principal_follows if principals else 0)
        """The streams that are open."""
        self.starts = StartRate(most_starts, most_starts)
        """The runs that were started lately."""

    def start_run(self, principal: str, now_s: float) -> None:
        """Take a run's place, and one start of its principal's.

        Args:
            principal: Who starts it.
            now_s: Now, in seconds of the monotonic clock.

        Raises:
            LimitReachedError: A limit is reached. Nothing was taken.
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
            LimitReachedError: A limit is reached.
        """
        self.start_follow(principal)
        try:
            yield
        finally:
            self.end_follow(principal)

    def start_follow(self, principal: str) -> None:
        """Take a follow's place. It is the caller's to give back.

        Raises:
            LimitReachedError: A limit is reached. Nothing was taken.
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
