"""File descriptors: as many as the system lets a process have, and a word in the log when they run out.

Each connection takes one. Shells and systemd give a process 1,024 and let it have many more, if it asks. When
they run out, libuv accepts connections only to close them, and tells nobody.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import time
from collections.abc import Callable
from typing import Final

MOST: Final = 1 << 20
"""How many are asked for where the system would give any number: some programs that a process starts keep a
table of all that they might have."""

OWN: Final = 64
"""What a process needs besides connections: files, pipes, the connections to others."""

CHECK_EVERY_S: Final = 1.0
REPEAT_S: Final = 60.0
"""How often the log says the same again."""

logger = logging.getLogger(__name__)


def raise_limit() -> int:
    """Have this process, and those that it starts, open as many files as it may; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # macOS has a limit of its own below the hard one
            logger.debug("the limit of file descriptors stays at %d: %s", soft, error)
    return limit()


def limit() -> int:
    """Return how many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if soft == resource.RLIM_INFINITY else soft


def warn_if_short(needed: int, setting: str) -> None:
    """Say in one line that connections would be refused before a setting says so.

    Args:
        needed: How many files may have to be open.
        setting: The variable that allows them, with its value.
    """
    if limit() < needed:
        logger.warning(
            "this process may open %d files, but %s may need %d: raise the limit (ulimit -Hn, systemd's "
            "LimitNOFILE, Docker's --ulimit nofile) or lower the setting",
            *(limit(), setting, needed),
        )


class DescriptorWatch:
    """Notices that this process can open no more files.

    Args:
        clock_s: Tells the time; it never goes back.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._said_s = -REPEAT_S

    def check(self) -> None:
        """Log an error if no file can be opened, at most once a minute."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            now_s = self._clock_s()
            if now_s - self._said_s >= REPEAT_S:
                self._said_s = now_s
                whose = f"limit {limit()}" if error.errno == errno.EMFILE else "of the whole system"
                text = "out of file descriptors (%s): new connections fail; raise ulimit -n"
                logger.error(text, whose)  # noqa: TRY400 # the place where it was noticed tells nothing

    async def run(self) -> None:
        """Check each second, until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_EVERY_S)
