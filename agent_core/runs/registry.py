"""The runs that a core knows: those that it writes itself, and those in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from agent_core.errors import RunLostError, UnknownRunError
from agent_core.log.contract import LogAwayError, LogFullError, RunInfo, RunLog, RunRecord, SessionBusyError
from agent_core.log.peers import Peers
from agent_core.runs.run import Run
from agent_core.runs.writer import LogRefusedError
from tokenwire.cursor import tag_of


class RunRegistry:
    """The live runs of this core by their ids, and the way to all others. As a container: its live runs.

    Args:
        log: The store.
        peers: The other cores.
        tag: The first characters of the ids that this core mints.
    """

    def __init__(self, log: RunLog, peers: Peers, tag: str) -> None:
        self._log = log
        self._peers = peers
        self._tag = tag
        self._live: dict[str, Run] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._live

    def __iter__(self) -> Iterator[Run]:
        """Iterate over the live runs of this moment: they may end meanwhile."""
        return iter(tuple(self._live.values()))

    def add(self, run: Run) -> None:
        """Take note of a run that begins."""
        self._live[run.record.run_id] = run

    def remove(self, run: Run) -> None:
        """Forget a live run. From here on the log alone knows it."""
        self._live.pop(run.record.run_id, None)

    def live(self, run_id: str) -> Run | None:
        """Return a run that this core writes; None for all others."""
        return self._live.get(run_id)

    async def info(self, run_id: str, owner: str) -> RunInfo:
        """Return what is known of a run.

        Args:
            run_id: The run.
            owner: The principal that asks.

        Raises:
            UnknownRunError: There is no such run, or it is another principal's: that is not told apart.
            RunLostError: It was lost with its core.
            LogAwayError: It can't be said now.
        """
        info = await self._log.info(run_id)
        run = self._live.get(run_id)
        if info is None and run is not None and run.lost:
            # The log was wiped, and this core has what it had.
            await run.check()
            info = await self._log.info(run_id)
        if info is None:
            raise await self.why_missing(run_id)
        if info.record.owner != owner:
            raise UnknownRunError
        return info

    async def standing(self, record: RunRecord) -> RunRecord | None:
        """Return the record of the run that stands for a request already; None where there is none.

        Args:
            record: Of the run that would be started.
        """
        key = record.request_key
        if not key:
            return None
        run = next((run for run in self._live.values() if run.record.request_key == key), None)
        if run is not None:
            with suppress(LogFullError, SessionBusyError, LogRefusedError):
                return await asyncio.shield(run.begun)
        return await self._log.standing(key)

    async def why_missing(self, run_id: str) -> Exception:
        """Return why a run is not in the log.

        Raises:
            LogAwayError: The log can't say.
        """
        if self._log.traits.volatile and tag_of(run_id) != self._tag:
            return RunLostError()
        if not await self._peers.is_log_complete():
            return LogAwayError("it may have lost this run, and get it back")
        return UnknownRunError()


async def all_ended(runs: Sequence[Run], within_s: float | None, hurry: asyncio.Event | None = None) -> None:
    """Return when all runs have ended, the time has passed, or there is a hurry.

    Args:
        runs: Live ones, of this core.
        within_s: How long to wait; None for as long as it takes.
        hurry: Set to wait no longer; None for nothing that could be set.
    """

    async def each() -> None:
        for run in runs:
            await run.ended.wait()

    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(each())}
    if hurry is not None:
        waits.add(asyncio.ensure_future(hurry.wait()))
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
