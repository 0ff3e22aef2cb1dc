"""Tasks that nobody awaits: kept alive, and ended with their owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class BackgroundTasks:
    """Owns tasks: the event loop keeps only weak references to them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Return a task that is kept until it is done. What it raises is logged.

        Args:
            work: What it does.
            name: Its name.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def __len__(self) -> int:
        """Return how many are not done."""
        return len(self._tasks)

    async def aclose(self, timeout_s: float = 0.0) -> None:
        """End them all.

        Args:
            timeout_s: How long they may take to end by themselves, in seconds.
        """
        if self._tasks and timeout_s:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        while tasks := tuple(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed: this is a bug of the edge", task.get_name(), exc_info=error)
