"""When a serving process collects garbage: so that no stream waits long for it.

CPython looks at the youngest objects after each 700 new ones, and at all objects that there are once those
that survived have grown by a quarter: a core of 500 streams then stands still for 0.1 s, one of more streams
for longer, however little of it is garbage. Here all that a process is made of before it serves is left out
for good, the youngest are looked at less often, and when all are looked at is decided by what it costs:
docs/decisions/0020-garbage-by-its-cost.md.

Source: https://docs.python.org/3/library/gc.html, https://devguide.python.org/internals/garbage-collector/
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

YOUNG_OBJECTS: Final = 2_000
"""After so many more new objects than freed ones the youngest are looked at: at 500 streams that each last
5 s, about 15 ms every 3 s. With CPython's 700 it is about 4 ms every 0.5 s."""

YOUNG_ROUNDS: Final = 4
"""After so many of these rounds those that survived one are looked at again, once: 22 ms every 15 s."""

NEVER: Final = 2**31 - 1
"""CPython by itself never looks at all objects."""

LOOK_EVERY_S: Final = 1.0
"""How often it is decided whether all objects are to be looked at."""

SHARE: Final = 0.001
"""How much of the time that may take while streams wait for it: tokens that do are beyond the 99.9th
percentile. Of 500 streams (0.1 s), every 100 s."""

EAGER_SHARE: Final = 0.01
"""How much of it where few wait, or memory has grown."""

IDLE_CPU_SHARE: Final = 0.1
"""A process that has used less of a CPU since the last look is idle."""

GROWTH: Final = 2
"""Memory has grown when so many times as many blocks are allocated as after the last look at all objects."""

logger = logging.getLogger(__name__)


class GarbageCollection:
    """Decides for this process, while its block lasts; to be entered in the serving loop, when all is ready.

    Args:
        look_every_s: How often it is decided, in seconds.
        clock: Tells the time, in seconds.
        cpu_s: Tells how much of a CPU the process has used, in seconds.
        blocks: Tells how many blocks of memory are allocated.
    """

    def __init__(
        self,
        *,
        look_every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.process_time,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        self._look_every_s = look_every_s
        self._clock = clock
        self._cpu_s = cpu_s
        self._blocks = blocks
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._former = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, NEVER)
        self._collect()
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._timer is not None  # noqa: S101 # set by __enter__
        self._timer.cancel()
        gc.set_threshold(*self._former)
        gc.unfreeze()

    def _wait(self) -> None:
        self._cpu_before_s = self._cpu_s()
        self._timer = asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        """Collect where that is due, and look again later."""
        if gc.get_count()[2] and self._is_due():
            self._collect()
        self._wait()

    def _is_due(self) -> bool:
        """Return whether the next collection keeps to its share of the time."""
        is_idle = self._cpu_s() - self._cpu_before_s < IDLE_CPU_SHARE * self._look_every_s
        has_grown = self._blocks() > GROWTH * self._blocks_left
        share = EAGER_SHARE if is_idle or has_grown else SHARE
        return (self._clock() - self._ended) * share >= self._took_s

    def _collect(self) -> None:
        """Look at all objects but the frozen ones."""
        began = self._clock()
        found = gc.collect()
        self._ended = self._clock()
        self._took_s = self._ended - began
        self._blocks_left = self._blocks()
        logger.debug("collected %d objects of garbage in %.1f ms", found, self._took_s * 1_000)
