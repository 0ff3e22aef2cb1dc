"""Writes one run's events to the log: in order, none twice, none left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent_core.runs.log.contract import FIRST_EPOCH, Appended, AppendStatus, RunLog
from agent_core.runs.outcome import Outcome


class LogRefusedError(Exception):
    """The log takes nothing more of this run from this core."""

    def __init__(self, run_id: str, appended: Appended) -> None:
        super().__init__(f"the log refuses run {run_id}: {appended.status.value}")


class RunWriter:
    """The only writer of one run.

    What was handed over stays pending until the log has accepted it. A write that was cancelled half
    way is repeated with the next one, under the same numbers, which changes nothing where it had
    succeeded.

    Args:
        log: The store.
        run_id: The run.
    """

    def __init__(self, log: RunLog, run_id: str) -> None:
        self._log = log
        self._run_id = run_id
        self._pending: list[bytes] = []
        self._next = 1  # the number of the first pending one
        self._lock = asyncio.Lock()

    async def write(self, payloads: Sequence[bytes]) -> None:
        """Return when the log has accepted these events, and all before them.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        self._pending.extend(payloads)
        async with self._lock:
            if self._pending:
                count = len(self._pending)
                batch = tuple(self._pending)
                self._accepted(await self._log.append(self._run_id, FIRST_EPOCH, self._next, batch), count)

    async def close(self, payload: bytes, outcome: Outcome) -> None:
        """Return when the log has accepted the terminal event and is closed.

        Raises:
            LogRefusedError: The log takes nothing more.
        """
        async with self._lock:
            # Never among the pending ones: a write must not append it without closing.
            count = len(self._pending)
            batch = (*self._pending, payload)
            self._accepted(
                await self._log.close(self._run_id, FIRST_EPOCH, self._next, batch, outcome), count
            )

    def _accepted(self, appended: Appended, count: int) -> None:
        """Drop from the pending events what the log has."""
        if appended.status is not AppendStatus.OK:
            raise LogRefusedError(self._run_id, appended)
        del self._pending[:count]
        self._next += count
