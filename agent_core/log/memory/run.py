"""One run's log in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_core.log.budget import beyond_floor
from agent_core.log.live_tail import LiveEvents
from agent_core.log.position import FIRST_EPOCH, Position
from agent_core.log.records import Outcome, RunInfo, RunRecord

EVENT_OVERHEAD_BYTES: Final = 50
"""What an event costs in memory besides its bytes: 33 for a bytes object's header, 8 or 9 for its place
in a list, 8 for what the allocator rounds up, on average. Measured on CPython 3.11."""

RUN_OVERHEAD_BYTES: Final = 2 * 1024
"""What a run costs in memory besides its events."""


class MemoryRun(LiveEvents):
    """One run's log.

    Args:
        record: The run.
        account: On which account it is.
    """

    __slots__ = ("account", "end_unix_nano", "expire_unix_nano", "message", "outcome", "readers", "record")

    def __init__(self, record: RunRecord, account: str) -> None:
        super().__init__()
        self.account = account
        self.record = replace(record, message="")
        self.message = record.message.encode()
        """What the user said, in UTF-8: text in memory may take four times as much."""
        self.outcome: Outcome | None = None
        self.end_unix_nano = 0
        self.expire_unix_nano = 0
        self.readers = 0

    @property
    def size_bytes(self) -> int:
        """What it costs in memory, about."""
        return (
            RUN_OVERHEAD_BYTES
            + len(self.message)
            + self.event_bytes
            + EVENT_OVERHEAD_BYTES * len(self.events)
        )

    @property
    def beyond_bytes(self) -> int:
        """What the message needs beside the shortest ring."""
        return beyond_floor(len(self.message))

    @property
    def info(self) -> RunInfo:
        """What is known of the run."""
        last, first = self.last, self.trimmed + 1
        return RunInfo(
            record=self.record,
            first=last if first == last.sequence else Position(FIRST_EPOCH, first),
            last=last,
            outcome=self.outcome,
            end_unix_nano=self.end_unix_nano,
            expire_unix_nano=self.expire_unix_nano,
        )

    def close(self, outcome: Outcome, end_unix_nano: int, expire_unix_nano: int) -> None:
        """Take note of the end, and wake those who wait."""
        self.outcome, self.closed = outcome, True
        self.end_unix_nano, self.expire_unix_nano = end_unix_nano, expire_unix_nano
        self.events = tuple(self.events)
        self.wake()

    def left(self) -> None:
        """Count one reader less."""
        self.readers -= 1
