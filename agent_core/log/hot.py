"""The newest events of a run in memory, for stores whose events are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_core.log.contract import FIRST_EPOCH, Position
from agent_core.log.live_tail import LiveEvents

HOT_BYTES: Final = 128 * 1024
"""What is kept in memory of a live run, at least half of it: about a thousand tokens."""


class HotRun(LiveEvents):
    """The newest events of one run.

    Args:
        last: The run's last event, which is not here; what comes after it will be.
        hot_bytes: The most that is kept here.
    """

    __slots__ = ("_hot_bytes",)

    def __init__(self, last: Position, hot_bytes: int = HOT_BYTES) -> None:
        super().__init__(last)
        self._hot_bytes = hot_bytes

    def apply(
        self,
        events: Sequence[bytes],
        *,
        epoch: int = FIRST_EPOCH,
        first: int = 0,
        closed: bool = False,
        gone: bool = False,
    ) -> None:
        """Take in what the store has accepted, and wake those who wait.

        Args:
            events: They follow on `last`.
            epoch: The last one's.
            first: The first event that the store still holds; those before it are dropped here too.
            closed: The last of them is the terminal event.
            gone: The run was forgotten.
        """
        if events:
            self.add(events, epoch)
        keep_bytes = self._hot_bytes // 2 if self.event_bytes > self._hot_bytes else self.event_bytes
        self.trim(self.trimmed + len(self.events) + 1 - first, keep_bytes)
        self.closed |= closed
        self.gone |= gone
        self.wake()

    def restart(self, last: Position) -> None:
        """Drop everything: the store goes on after another event than was known here.

        Args:
            last: The store's last event.
        """
        self.events = []
        self.event_bytes = 0
        self.epoch, self.trimmed = last
        self.wake()
