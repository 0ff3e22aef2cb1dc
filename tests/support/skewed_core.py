"""A core on a machine whose clocks are others: `python -m tests.support.skewed_core SECONDS BOOT_ID_FILE`.

A double at the rim: two machines can't be had here. The core's wall clock is ahead by so many seconds, its
monotonic clock began at another time, and its kernel tells another boot id. All else is the real core, set up
by TOKENWIRE_* variables.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

BOOTED_NANO: Final = 123_456_789_012
"""By how much its monotonic clock is ahead."""


def skew(seconds: float) -> None:
    """Set this process's clocks. To be called before anything of ours is imported."""
    wall, monotonic, wall_s = time.time_ns, time.monotonic_ns, time.time
    time.time_ns = lambda: wall() + round(seconds * 1e9)
    time.time = lambda: wall_s() + seconds
    time.monotonic_ns = lambda: monotonic() + BOOTED_NANO


def main() -> int:
    """Return the core's exit status."""
    skew(float(sys.argv[1]))
    from tokenwire.telemetry import clock  # noqa: PLC0415 # it keeps the clock that it finds

    clock.BOOT_ID = Path(sys.argv[2])  # type: ignore[misc]
    from agent_core.__main__ import main as serve  # noqa: PLC0415 # likewise

    return serve()


if __name__ == "__main__":
    raise SystemExit(main())
