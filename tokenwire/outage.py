"""One log line when something goes away and one when it is back, instead of one for each failed try.

What fails once a second, or once for each of a thousand streams, fills a log with copies of one fact and
hides the others. The tries themselves are logged at level debug.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

REPEAT_EVERY_S: Final = 60.0
"""How often a line may come that says the same as the last one."""

MAX_TEXTS: Final = 256
"""How many different texts are remembered: a library that puts numbers into them must not fill the memory."""

LEFT_OUT: Final = " (%d more since the last such line)"


class Outage:
    """Logs when something that a process needs goes away, and when it is back. For one thread.

    Args:
        logger: Where the lines go.
        away: Said when it goes away: "core X does not answer".
        back: Said when it is back, with the duration: "core X answers again".
        level: The level of both lines: an operator who sees the one sees the other, too.
        clock_s: Tells the time in seconds; it never goes back.
    """

    def __init__(
        self,
        logger: logging.Logger,
        away: str,
        back: str,
        *,
        level: int = logging.WARNING,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._away = away
        self._back = back
        self._level = level
        self._clock_s = clock_s
        self._since_s: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is away now."""
        return self._since_s is not None

    def begin(self, why: object = "") -> None:
        """Take note of a failure: the first one is logged, further ones at level debug.

        Args:
            why: What has failed, or what to do; empty for nothing.
        """
        level = self._level if self._since_s is None else logging.DEBUG
        if self._since_s is None:
            self._since_s = self._clock_s()
        self._logger.log(level, "%s%s", self._away, f": {why}" if why else "")

    def end(self, more: str = "") -> None:
        """Take note that it is there. Logged where it was away.

        Args:
            more: What else there is to say of the time in between.
        """
        if self._since_s is None:
            return
        lasted_s, self._since_s = self._clock_s() - self._since_s, None
        self._logger.log(self._level, "%s after %.1f s%s", self._back, lasted_s, f"; {more}" if more else "")


class Repeats:
    """Tells which of many lines that say the same is worth logging. For one thread.

    Args:
        every_s: How long nothing more is logged after a line, in seconds.
        clock_s: Tells the time in seconds; it never goes back.
    """

    def __init__(
        self, every_s: float = REPEAT_EVERY_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._clock_s = clock_s
        self._last_s: float | None = None
        self._left_out = 0

    def next(self) -> int | None:
        """Return how many were left out before this one; None when this one is to be left out, too."""
        now_s = self._clock_s()
        if self._last_s is not None and now_s - self._last_s < self._every_s:
            self._left_out += 1
            return None
        self._last_s = now_s
        left_out, self._left_out = self._left_out, 0
        return left_out

    def log(self, logger: logging.Logger, level: int, text: str, *args: object, **extra: str) -> None:
        """Log a line, with the number of those that were left out before it; or at level debug.

        Args:
            logger: Where it goes.
            level: Its level.
            text: The line, with places for `args`.
            args: What stands there.
            extra: From `log_fields`.
        """
        left_out = self.next()
        if left_out is None:
            logger.debug(text, *args, extra=extra)
            return
        if left_out:
            text, args = f"{text}{LEFT_OUT}", (*args, left_out)
        logger.log(level, text, *args, extra=extra)


class RepeatFilter(logging.Filter):
    """Lets one of many records pass that say the same, with the number of those that it held back.

    For libraries that log every failed try. Two records say the same when their logger, level and text
    without its arguments are the same.

    Args:
        names: The loggers that it is about, with those below them. Others' records always pass.
        every_s: How long such a record is held back after one that passed, in seconds.
        clock_s: Tells the time in seconds; it never goes back.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        every_s: float = REPEAT_EVERY_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._names = names
        self._every_s = every_s
        self._clock_s = clock_s
        self._repeats: dict[tuple[str, int, str], Repeats] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged.

        Args:
            record: The record; what was held back before it is added to its text.
        """
        if not record.name.startswith(self._names):
            return True
        key = (record.name, record.levelno, str(record.msg))
        if key not in self._repeats:
            if len(self._repeats) >= MAX_TEXTS:
                self._repeats.clear()
            self._repeats[key] = Repeats(self._every_s, self._clock_s)
        left_out = self._repeats[key].next()
        if left_out:
            record.msg, record.args = record.getMessage() + LEFT_OUT % left_out, ()
        return left_out is not None
