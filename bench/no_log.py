"""No log: a stand-in for measurements alone, against which the real stores are held.

It is the least that the contract lets a store do: it takes events, and hands each on to the run's one
reader. What was handed on is gone, so no one can follow again, a second reader gets nothing, and nothing
is ever trimmed, swept or remembered. No core can be told to use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from agent_core.log.append import Append, Appended, AppendStatus, AwaitableAppends, OnAnswer
from agent_core.log.batch import Batch
from agent_core.log.contract import StoreTraits
from agent_core.log.encoding import seal
from agent_core.log.errors import LogGoneError
from agent_core.log.position import FIRST_EPOCH, START, Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord

_OK: Final = Appended(AppendStatus.OK)
_GONE: Final = Appended(AppendStatus.GONE)


class Pipe:
    """What one run has said and its reader has not taken yet.

    Args:
        record: The run.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.last = START
        self.outcome: Outcome | None = None
        self.events: list[bytes] = []
        """What waits: all up to `last`."""
        self.waiter: asyncio.Future[None] | None = None
        self.callback: Callable[[], None] | None = None

    def put(self, epoch: int, first: int, payloads: Sequence[bytes]) -> None:
        """Take events. They are numbered and sealed as by every store: a reader gets whole events."""
        self.events += seal(payloads, epoch=epoch, first=first, logged_nano=0)
        self.last = Position(epoch, first + len(payloads) - 1)
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        if self.callback is not None:
            self.callback()


class PipeTail:
    """The one reader of a run."""

    def __init__(self, pipe: Pipe, max_events: int) -> None:
        self._pipe = pipe
        self._max_events = max_events
        self._interrupted = False

    async def next(self) -> Batch:
        """Return what has come and was not returned before; waits when there is nothing."""
        pipe = self._pipe
        while True:
            batch = self.poll()
            if batch.events or batch.complete or self._interrupted:
                self._interrupted = False
                return batch
            pipe.waiter = asyncio.get_running_loop().create_future()
            await pipe.waiter

    def poll(self, max_events: int | None = None, max_bytes: int | None = None) -> Batch:
        """Return what has come and was not returned before."""
        del max_bytes
        pipe, count = self._pipe, max_events or self._max_events
        first = pipe.last.sequence - len(pipe.events) + 1
        events, pipe.events = pipe.events[:count], pipe.events[count:]
        return Batch(first, events, pipe.outcome is not None and not pipe.events, pipe.last)

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Have something called whenever something has come."""
        self._pipe.callback = callback

    def interrupt(self) -> None:
        """Let `next` return at once."""
        self._interrupted = True
        self._pipe.wake()

    async def aclose(self) -> None:
        """Wake no reader any more."""
        self._pipe.callback = None


class NoLog(AwaitableAppends):
    """The store that keeps nothing. Limits a batch by events only: the benchmark's are small."""

    traits: Final = StoreTraits(volatile=True, restorable=False)

    def __init__(self) -> None:
        self._pipes: dict[str, Pipe] = {}

    async def start(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return nothing: nothing outlives the process."""
        del core
        return []

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record."""
        self._pipes[record.run_id] = Pipe(record)
        return record

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return None: no request is remembered."""
        del request_key
        return None

    async def probe(self) -> None:
        """Return: there is nothing that could be away."""

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Hand events on."""
        pipe = self._pipe(append.run_id)
        if append.end is not None:
            pipe.outcome = append.end.outcome
        pipe.put(append.epoch, append.first, append.payloads)
        on_answer(_OK)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Never needed: nothing is kept that could be lost."""
        raise NotImplementedError

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return nothing: nothing is kept."""
        del max_events, max_bytes
        pipe = self._pipe(run_id)
        return Batch(after.sequence + 1, (), pipe.outcome is not None, pipe.last)

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> PipeTail:
        """Return the run's one reader."""
        del after, max_bytes
        return PipeTail(self._pipe(run_id), max_events)

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        pipe = self._pipes.get(run_id)
        if pipe is None:
            return None
        return RunInfo(pipe.record, Position(FIRST_EPOCH, 1), pipe.last, pipe.outcome)

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Do nothing: no writer is ever lost here."""
        del run_id, epoch, payload, outcome
        return _GONE

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        self._pipes.pop(run_id, None)

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return nothing for each run."""
        return [""] * len(run_ids)

    async def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Return nothing."""
        del owner, session_id, max_runs, place, oldest_first
        return []

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return nothing."""
        del owner, session_id
        return []

    def _pipe(self, run_id: str) -> Pipe:
        pipe = self._pipes.get(run_id)
        if pipe is None:
            raise LogGoneError
        return pipe
