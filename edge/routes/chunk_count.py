"""How many chunks of the AI SDK's a run has so far: for clients that ask for the last few."""

from __future__ import annotations

import asyncio

from edge.errors import EdgeError
from edge.sse.dialects import AiSdkDialect
from edge.sse.stream import StreamState
from edge.upstream import Caller, Leave, Upstream
from tokenwire.cursor import START
from tokenwire.v1 import event_pb2, run_pb2

_BUDGET_BYTES = 1 << 20
"""Never used up: what is counted does not wait."""


class _ChunkCounter(StreamState):
    """Is told of a run up to an event, and keeps no frame.

    Args:
        last: The sequence of the last event that counts.
    """

    __slots__ = ("_last", "counted", "dialect")

    def __init__(self, last: int) -> None:
        self.dialect = AiSdkDialect()
        """Counts the chunks."""
        super().__init__(self.dialect, budget_bytes=_BUDGET_BYTES, merge=False)
        self._last = last
        self.counted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """How many chunks there are."""

    def event(self, epoch: int, sequence: int, event: event_pb2.Event) -> None:
        """Count an event's chunks."""
        if sequence <= self._last:
            super().event(epoch, sequence, event)
        if sequence >= self._last:
            self._count()

    def flush(self) -> None:
        """Let go of what was counted."""
        self.take(bytearray())
        if self.terminal is not None:
            self._count()

    def end(self, failure: EdgeError | None) -> None:
        """Learn that nothing more comes."""
        if failure is not None and not self.counted.done():
            self.counted.set_exception(failure)
        self._count()

    def _count(self) -> None:
        if not self.counted.done():
            self.take(bytearray())
            self.counted.set_result(self.dialect.chunks)


async def count_chunks(upstream: Upstream, run: run_pb2.Run, caller: Caller) -> int:
    """Return how many chunks there are of a run's events up to its last one.

    Args:
        upstream: The cores.
        run: The run, as it is now.
        caller: On whose behalf.

    Raises:
        EdgeError: The run can't be followed.
    """
    counter = _ChunkCounter(run.last.sequence)
    call = upstream.follow_run(run.run_id, START, caller)
    call.start(counter)
    try:
        return await counter.counted
    finally:
        # The client itself has not left: it follows the run at once.
        call.close(Leave.DRAINED)
