"""How much one principal, and all together, may have and start at this edge. Pure: time is passed in.

Each edge process counts for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from edge.errors import EdgeError

RETRY_STREAM_S: Final = 5.0
"""When to ask again for a stream that there was no room for. Nobody knows when another one ends: this is
soon enough for a person, and seldom enough for the server."""

REASON: Final = "EDGE_LIMIT"


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """What the limits are. 0: there is none."""

    streams: int = 0
    """The most streams that are open at a time."""
    streams_per_principal: int = 0
    """The most of one principal."""
    starts_per_minute: float = 0
    """How many runs a principal may start in the long run."""
    starts_burst: int = 1
    """How many at once, after a rest."""


class LimitError(EdgeError):
    """A limit was reached.

    Args:
        limit: Its name, for programs.
        message: What to tell the user.
        retry_after_s: When to ask again.
        most: The limit's value; None where that is nobody's business.
    """

    def __init__(self, limit: str, message: str, *, retry_after_s: float, most: int | None = None) -> None:
        details = {"reason": REASON, "limit": limit}
        if most is not None:
            details["max"] = str(most)
        super().__init__("RESOURCE_EXHAUSTED", message, details=details, retry_after_s=retry_after_s)


class StreamSlots:
    """The streams that are open: how many, and whose.

    Args:
        in_all: The most at a time; 0 for any number.
        per_principal: The most of one principal; 0 for any number.
    """

    def __init__(self, in_all: int, per_principal: int) -> None:
        self._in_all = in_all
        self._per_principal = per_principal
        self._held: dict[str, int] = {}
        self.in_use = 0
        """How many are open."""

    def held_by(self, principal: str) -> int:
        """Return how many streams a principal has open.

        Args:
            principal: Whose.
        """
        return self._held.get(principal, 0)

    @property
    def principals(self) -> int:
        """How many principals have any: what is kept of the others is nothing."""
        return len(self._held)

    def take(self, principal: str) -> None:
        """Take a slot. It is the caller's to release.

        Args:
            principal: Whose stream it will be.

        Raises:
            LimitError: There is none; nothing was taken.
        """
        held = self.held_by(principal)
        if self._per_principal and held >= self._per_principal:
            raise LimitError(
                "streams_per_principal",
                "You have too many streams open. Close one that you do not look at.",
                retry_after_s=RETRY_STREAM_S,
                most=self._per_principal,
            )
        if self._in_all and self.in_use >= self._in_all:
            raise LimitError(
                "streams", "This server has too many streams open.", retry_after_s=RETRY_STREAM_S
            )
        self._held[principal] = held + 1
        self.in_use += 1

    def release(self, principal: str) -> None:
        """Give a slot back.

        Args:
            principal: Who took it.
        """
        self.in_use -= 1
        self._held[principal] -= 1
        if not self._held[principal]:
            del self._held[principal]


class StartRate:
    """How often principals start runs: a bucket of `burst` starts for each, filled at a steady rate.

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
        """How many principals are remembered: those that started one lately."""
        return len(self._full_at)

    def take(self, principal: str, now_s: float) -> None:
        """Count a start.

        Args:
            principal: Whose.
            now_s: The time, from a clock that never goes back.

        Raises:
            LimitError: It is too soon; nothing was counted. It says after which time there is room.
        """
        if not self._per_minute:
            return
        self._forget_full(now_s)
        every_s = 60 / self._per_minute
        full_at = max(self._full_at.get(principal, now_s), now_s) + every_s
        wait_s = full_at - now_s - self._burst * every_s
        if wait_s > every_s * 1e-6:  # rounding is no reason to refuse
            raise LimitError(
                "starts_per_minute",
                "You have started too many runs in a short time.",
                retry_after_s=wait_s,
                most=int(self._per_minute),
            )
        self._full_at[principal] = full_at
        self._full_at.move_to_end(principal)

    def _forget_full(self, now_s: float) -> None:
        """Drop full buckets. One that is not keeps those behind it, at most until it is full itself."""
        while self._full_at and next(iter(self._full_at.values())) <= now_s:
            self._full_at.popitem(last=False)


class Limits:
    """The limits of one edge process.

    Args:
        policy: What they are.
        clock_s: Tells the time; it never goes back.
    """

    def __init__(self, policy: LimitPolicy, clock_s: Callable[[], float]) -> None:
        self.slots = StreamSlots(policy.streams, policy.streams_per_principal)
        """The streams that are open."""
        self.starts = StartRate(policy.starts_per_minute, policy.starts_burst)
        """The runs that were started lately."""
        self._clock_s = clock_s

    def count_start(self, principal: str) -> None:
        """Count a run that is to be started.

        Args:
            principal: Whose.

        Raises:
            LimitError: There were too many.
        """
        self.starts.take(principal, self._clock_s())

    @contextmanager
    def stream(self, principal: str, *, starts: bool) -> Iterator[None]:
        """Hold a slot for a stream, as long as the context is open.

        Args:
            principal: Whose stream it is.
            starts: Whether it starts a run.

        Raises:
            LimitError: There is no slot, or there were too many starts. Then nothing is held.
        """
        self.slots.take(principal)
        try:
            if starts:
                self.count_start(principal)
            yield
        finally:
            self.slots.release(principal)
