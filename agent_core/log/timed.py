"""A store that counts how long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from agent_core.log.append import Append, Appended, AwaitableAppends, OnAnswer
from agent_core.log.batch import Batch
from agent_core.log.contract import RunLog, StoreTraits, Tail
from agent_core.log.position import Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.metrics.instruments import STORE_DURATION


class TimedLog(AwaitableAppends):
    """Passes all on to a store, and counts how long each answer took: refusals and failures, too.

    For stores that wait. What readers wait for in `Tail.next` is not the store.

    Args:
        log: The store.
        kind: What the metric calls it.
    """

    def __init__(self, log: RunLog, kind: Literal["sqlite", "redis"]) -> None:
        self._log = log
        self._kind = kind

    @property
    def traits(self) -> StoreTraits:
        """As the store has them."""
        return self._log.traits

    async def start(self) -> None:
        """Open the store."""
        await self._log.start()

    async def aclose(self) -> None:
        """Close the store."""
        await self._log.aclose()

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return the ids of the runs without a terminal event."""
        return await self._log.open_runs(core)

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now."""
        with self._timed("create"):
            return await self._log.create(record)

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that `create` would find standing for a request."""
        with self._timed("info"):
            return await self._log.standing(request_key)

    async def probe(self) -> None:
        """Return if something can be written."""
        await self._log.probe()

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run."""
        began = monotonic_nano()

        def answered(appended: Appended | Exception) -> None:
            self._duration("append").add_nano(monotonic_nano() - began)
            on_answer(appended)

        self._log.submit(append, answered)

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting."""
        with self._timed("read"):
            return await self._log.read(run_id, after, max_events, max_bytes)

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Tail:
        """Return a reader that begins after a position."""
        with self._timed("read"):
            return await self._log.tail(run_id, after, max_events, max_bytes)

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        with self._timed("info"):
            return await self._log.info(run_id)

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs."""
        with self._timed("read"):
            return await self._log.messages(run_ids)

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Close a run whose writer is gone."""
        with self._timed("append"):
            return await self._log.reap(run_id, epoch, payload, outcome)

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        with self._timed("delete"):
            await self._log.delete(run_id)

    async def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Return a session's runs."""
        with self._timed("sessions"):
            return await self._log.session_runs(owner, session_id, max_runs, place, oldest_first=oldest_first)

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers."""
        with self._timed("sessions"):
            return await self._log.history(owner, session_id)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write again what the store has lost of a run."""
        with self._timed("append"):
            return await self._log.restore(record, epoch, first, payloads)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began = monotonic_nano()
        try:
            yield
        finally:
            self._duration(operation).add_nano(monotonic_nano() - began)

    def _duration(self, operation: str) -> Any:
        return STORE_DURATION.buffer(self._kind, operation)
