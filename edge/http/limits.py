"""How much one principal, and all together, may have and start at this edge. Pure: time is passed in.

Each edge process counts for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from edge.errors import EdgeError
from tokenwire.limits import OverLimitError, Slots, StartRate
from tokenwire.reasons import Reason

RETRY_STREAM_S: Final = 5.0
"""When to ask again for a stream that there was no room for. Nobody knows when another one ends: this is
soon enough for a person, and seldom enough for the server."""


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
        details = {"reason": Reason.EDGE_LIMIT, "limit": limit}
        if most is not None:
            details["max"] = str(most)
        super().__init__("RESOURCE_EXHAUSTED", message, details=details, retry_after_s=retry_after_s)


class Limits:
    """The limits of one edge process.

    Args:
        policy: What they are.
        clock_s: Tells the time; it never goes back.
    """

    def __init__(self, policy: LimitPolicy, clock_s: Callable[[], float]) -> None:
        self.slots = Slots(policy.streams, policy.streams_per_principal)
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
        with _refusing():
            self.starts.take(principal, self._clock_s())

    def take_stream(self, principal: str, *, starts: bool) -> None:
        """Take a slot for a stream. It is the caller's to release.

        Args:
            principal: Whose stream it is.
            starts: Whether it starts a run.

        Raises:
            LimitError: There is no slot, or there were too many starts. Then nothing is held.
        """
        with _refusing():
            self.slots.take(principal)
        if starts:
            try:
                self.count_start(principal)
            except LimitError:
                self.slots.release(principal)
                raise

    def release_stream(self, principal: str) -> None:
        """Give a stream's slot back.

        Args:
            principal: Who took it.
        """
        self.slots.release(principal)


@contextmanager
def _refusing() -> Iterator[None]:
    """Say in the edge's own words that a limit was reached.

    Raises:
        LimitError: It was.
    """
    try:
        yield
    except OverLimitError as error:
        match error.limit:
            case "principal":
                refusal = LimitError(
                    "streams_per_principal",
                    "You have too many open streams. Close one that you no longer need.",
                    retry_after_s=RETRY_STREAM_S,
                    most=error.most,
                )
            case "all":
                text = "This server has too many streams open."
                refusal = LimitError("streams", text, retry_after_s=RETRY_STREAM_S)
            case "rate":
                refusal = LimitError(
                    "starts_per_minute",
                    "You have started too many runs in a short time.",
                    retry_after_s=error.retry_after_s or RETRY_STREAM_S,
                    most=error.most,
                )
        raise refusal from error
