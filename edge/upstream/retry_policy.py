"""When a broken stream is followed again, and when it is given up. Pure: the time is passed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from edge.errors import EdgeError
from tokenwire.backoff import Backoff
from tokenwire.reasons import PASSES_AT_AN_EDGE, Reason

WITHOUT_CORE_S: Final = 7.0
"""How long a stream waits without any core that serves it: a lease of 5 s runs out, and is noticed."""

FIRST_WAIT_S: Final = 0.05
MOST_WAIT_S: Final = 0.5
"""How long after a failure the run is followed again: twice as long each time, spread by half, so that the
clients of a lost core do not all come at once."""

CALM_S: Final = 1.0
"""After so long without a failure the next one counts as the first."""

PASSING: Final = frozenset({"UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"})
"""Codes after which following again may help."""

OF_ALL_STREAMS: Final = frozenset({"", Reason.CORE_NOT_ANSWERING, Reason.LINK_SILENT})
"""Reasons for which a core's streams break together. With any other one it has ended one stream: if that
brought nothing new, following again brings the same."""

PASSING_UNSAID: Final = frozenset({"INTERNAL", "UNKNOWN"})
"""The same, where it is the transport that says so rather than the core."""


def passes(error: EdgeError) -> bool:
    """Return whether following again may help after a failure."""
    reason = error.details.get("reason", "")
    if reason in PASSES_AT_AN_EDGE:
        return True
    return error.code in PASSING or (error.code in PASSING_UNSAID and not reason)


class RetryPolicy:
    """Counts the failures of one stream since it last went on.

    Args:
        chance: Returns a random number from 0 to 1.
    """

    __slots__ = ("_alone_since", "_backoff", "_heard")

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._backoff = Backoff(
            FIRST_WAIT_S, MOST_WAIT_S, spread=(0.5, 1.5), at_once=True, calm_s=CALM_S, chance=chance
        )
        self._alone_since: float | None = None
        self._heard = False

    def heard(self) -> None:
        """Take note that a core has said something. What `after` is told next says what it was worth."""
        self._heard = True

    def after(self, error: EdgeError, now_s: float, *, is_further: bool) -> float:
        """Return how long to wait before the run is followed again, in seconds: not at all at first.

        Args:
            error: What has failed.
            now_s: Now, in seconds of a monotonic clock.
            is_further: Whether events have come since the failure before.

        Raises:
            EdgeError: The same: it is final, or has lasted too long.
        """
        if not passes(error):
            raise error
        reason = error.details.get("reason", "")
        if self._heard and (is_further or reason in OF_ALL_STREAMS):
            self._alone_since = None
        self._heard = False
        if reason == Reason.LOG_AWAY:
            # A core is there: the run goes on, and its events come when its log is back.
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now_s
        elif now_s - self._alone_since >= WITHOUT_CORE_S:
            raise error
        return self._backoff.failed(now_s) or 0.0
