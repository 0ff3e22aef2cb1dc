"""Says when this machine ran nothing for a while: a process that wants little and still came late.

`python -m tests.support.starvation` sleeps 10 ms at a time, and prints each interval of more than 50 ms in
which it was not run. What others of the machine do then is no stall that anybody planted.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from tests.support.processes import Processes, Running, wait_until

SLEEP_S: Final = 0.01
LATE_NANO: Final = 50_000_000


class Starvation:
    """The machine's own standstills since this was made.

    Args:
        processes: Runs and ends the process that watches.
    """

    def __init__(self, processes: Processes) -> None:
        self._process: Running = processes.start("starvation", [sys.executable, "-m", __spec__.name])
        wait_until(lambda: "watching" in self._process.stdout, "the machine is watched")

    def within(self, begin_nano: int, end_nano: int) -> int:
        """Return for how long the machine stood within an interval.

        Args:
            begin_nano: In nanoseconds of the Unix time.
            end_nano: Likewise.
        """
        stood = 0
        for line in self._process.stdout.splitlines()[1:]:
            began, ended = map(int, line.split())
            stood += max(0, min(ended, end_nano) - max(began, begin_nano))
        return stood


def main() -> None:
    """Watch until the end."""
    print("watching", flush=True)  # noqa: T201 # what it is for
    offset = time.time_ns() - time.monotonic_ns()
    due = time.monotonic_ns()
    while True:
        due = max(due, time.monotonic_ns()) + round(SLEEP_S * 1e9)
        time.sleep(SLEEP_S)
        now = time.monotonic_ns()
        if now - due > LATE_NANO:
            print(due + offset, now + offset, flush=True)  # noqa: T201 # as above


if __name__ == "__main__":
    main()
