"""When a run must have ended: a clock that stands still while the run waits for a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def _nothing() -> None:
    """Do nothing."""


class RunDeadline:
    """Stops a run that takes too long. Times are seconds of the monotonic clock.

    Args:
        own: The deadline by the run's own limit. It moves by as long as the run waits.
        call: That of the call that started the run and streams it, which does not move; None for never.
        on_passed: Called once, when the sooner of both has passed.
    """

    def __init__(self, own: float, call: float | None, on_passed: Callable[[], None]) -> None:
        self._own = own
        self._call = call
        self._on_passed = on_passed
        self._paused_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def at(self) -> float:
        """Return when the run must have ended, as things stand."""
        own = self._own
        if self._paused_at is not None:
            own += time.monotonic() - self._paused_at
        return own if self._call is None else min(own, self._call)

    def begin(self) -> None:
        """Start the timer."""
        self._arm()

    def pause(self) -> None:
        """Stand still: the run waits."""
        if self._paused_at is None:
            self._paused_at = time.monotonic()
            self._arm()

    def resume(self) -> None:
        """Go on."""
        if self._paused_at is not None:
            self._own += time.monotonic() - self._paused_at
            self._paused_at = None
            self._arm()

    def close(self) -> None:
        """Stop the timer, and let go of the run: both would be garbage in a cycle."""
        self._on_passed = _nothing
        self._disarm()

    def _arm(self) -> None:
        """Set the timer to what is due: only the call's deadline while the run waits."""
        self._disarm()
        due = self._call if self._paused_at is not None else self.at()
        if due is not None and self._on_passed is not _nothing:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._pass)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass(self) -> None:
        self._timer = None
        self._on_passed()
