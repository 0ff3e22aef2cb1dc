"""What some stores of runs offer beside what every one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent_core.log.contract import Appended, RunLog, RunRecord


class InstantLog(RunLog, Protocol):
    """A store that never waits: RunLog.waits is False."""

    def append_now(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write events as `append` does."""


class RestorableLog(RunLog, Protocol):
    """A store that may lose what it has accepted while its writer lives: RunLog.forgets is True."""

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write again what the store has lost of a run, and go on from there.

        What it still has of the run is kept where it reaches up to these events. Otherwise the log
        begins with them: readers whose cursor lies before are told so.

        Args:
            record: As the run was created.
            epoch: The writer's generation.
            first: The number of the first of these events.
            payloads: As with `append`: up to the last one that was accepted.
        """
