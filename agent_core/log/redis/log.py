"""The run log in Redis or Valkey, shared by many cores.

A stream for each run is the truth, one script for each append, and a message tells of it. What this
process writes it also keeps in memory, as new as it is, for those who read it here; runs of other cores
are read from their messages, and from the stream wherever a message is missing.

`logged_nano` of an event is when its append was sent, in the stream, and when it was accepted, for those
who read it live at the core that wrote it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from agent_core.log.appending import AwaitableAppends
from agent_core.log.budget import LogBudget
from agent_core.log.contract import (
    START,
    Append,
    Appended,
    AppendStatus,
    Batch,
    Exchange,
    LogAwayError,
    LogGoneError,
    OnAnswer,
    Position,
    PrincipalLogFullError,
    RunInfo,
    RunRecord,
    SessionBusyError,
    StoreTraits,
)
from agent_core.log.encoding import seal
from agent_core.log.hot import HOT_BYTES
from agent_core.log.live_tail import LiveTail
from agent_core.log.outcome import Outcome
from agent_core.log.redis.calls import Calls, Ending, Reaping
from agent_core.log.redis.committer import Committer
from agent_core.log.redis.connection import away, make_client
from agent_core.log.redis.fitness import require_fit
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.messages import Messages
from agent_core.log.redis.peers import RedisPeers
from agent_core.log.redis.records import (
    INFO_FIELDS,
    events_of,
    exchanges_of,
    info_of,
    place_of,
    position_of,
)
from agent_core.log.redis.run_cache import KnownRuns
from tokenwire.telemetry import monotonic_nano


class RedisLog(AwaitableAppends):
    """The store `redis://…`.

    Args:
        url: Where Redis is: `redis://`, `rediss://` or `unix://`.
        budget: How much it keeps, and how long. All runs' bytes are limited by Redis's own `maxmemory`.
        prefix: What the names of its keys begin with.
        core: The name under which this core holds its lease.
        hot_bytes: How much of a live run is kept in memory besides.
        unix_nano: The wall clock.
        stamp: The monotonic clock that `logged_nano` is read from.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(  # noqa: PLR0913 # what a store needs
        self,
        url: str,
        budget: LogBudget | None = None,
        *,
        prefix: str = "tokenwire",
        core: str,
        hot_bytes: int = HOT_BYTES,
        unix_nano: Callable[[], int] = time.time_ns,
        stamp: Callable[[], int] = monotonic_nano,
    ) -> None:
        self._keys = Keys(prefix)
        self._core = core
        self._unix_nano = unix_nano
        self._stamp = stamp
        self._client = make_client(url)
        self._budget = budget or LogBudget()
        self._calls = Calls(self._keys, self._budget)
        # Of its own: readers, who may come by the hundred, keep no append waiting for a connection.
        self._writing_client = make_client(url)
        self._committer = Committer(self._writing_client)
        self._was_connected = False
        self._appending: set[asyncio.Task[Appended]] = set()
        self.peers = RedisPeers(url, self._keys, core)
        """The other cores on this log."""
        self._messages = Messages(
            self._client,
            self._keys.wake(core),
            on_own=self.peers.look,
            on_back=self._back,
        )
        self._known = KnownRuns(self, self._messages, self._keys.channel, hot_bytes)

    @property
    def traits(self) -> StoreTraits:
        """Elsewhere; what was accepted can be lost with a server, until another has it."""
        return StoreTraits(volatile=False, restorable=True)

    async def start(self) -> None:
        """Look whether Redis is there and fit."""
        try:
            await require_fit(self._client, self._budget)
        except BaseException:
            await self._client.aclose()
            raise
        await self._messages.start()
        self._known.start()

    async def aclose(self) -> None:
        """Finish what is under way, and close the connections."""
        await self._known.aclose()
        await self._messages.aclose()
        await self._committer.aclose()
        await self._writing_client.aclose()
        await self._client.aclose()

    def _back(self) -> None:
        """Look for what was missed, and for what was lost, while there was no connection."""
        self._known.heal_all()
        if self._was_connected:
            self.peers.doubt()
        self._was_connected = True

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return the ids of the runs without a terminal event."""
        key = self._keys.open_runs if core is None else self._keys.core_runs(core)
        with away():
            return [run_id.decode() for run_id in await self._client.smembers(key)]

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now."""
        while True:
            call = self._calls.create(record, self._unix_nano())
            answer = await self._committer.run(call, creating=True)
            if answer[0] == b"FULL":
                raise PrincipalLogFullError
            if answer[0] == b"BUSY":
                raise SessionBusyError(answer[1].decode())
            if answer[0] == b"OK" or answer[1].decode() == record.run_id:
                # It may have stood already: from an attempt whose answer was lost.
                info = await self.info(record.run_id) if answer[0] != b"OK" else None
                self._known.write(record, info.last if info is not None else START)
                return record
            standing = await self.info(answer[1].decode())
            if standing is not None:
                return standing.record

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that stands for a request."""
        with away():
            run_id = await self._client.get(self._keys.request(request_key))
        info = await self.info(run_id.decode()) if run_id is not None else None
        return info.record if info is not None else None

    async def probe(self) -> None:
        """Return if Redis answers: that it takes writes, the lease finds out."""
        with away():
            await self._client.ping()

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run."""
        run_id, epoch, first, payloads, end = append
        ending = Ending(end.outcome, self._unix_nano(), end.exchange) if end is not None else None
        task = asyncio.create_task(self._append(run_id, epoch, first, payloads, ending))
        self._appending.add(task)

        def answered(task: asyncio.Task[Appended]) -> None:
            self._appending.discard(task)
            if task.cancelled():
                on_answer(LogAwayError("the core stops"))
            else:
                on_answer(task.exception() or task.result())  # type: ignore[arg-type]

        task.add_done_callback(answered)

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting."""
        found = await self._committer.run(self._calls.read(run_id, after, max_events, max_bytes))
        if found is None:
            raise LogGoneError
        _, outcome, expire, last, last_epoch, flat = found
        if outcome and int(expire) <= self._unix_nano():
            raise LogGoneError
        first, events = events_of(flat, after.sequence)
        position = position_of(last_epoch, last)
        at_end = first + len(events) > position.sequence
        return Batch(first, events, bool(outcome) and at_end, position)

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> LiveTail:
        """Return a reader that begins after a position."""
        hot, left = await self._known.read(run_id)
        return LiveTail(
            hot,
            read=partial(self.read, run_id),
            after=after.sequence,
            max_events=max_events,
            max_bytes=max_bytes,
            on_close=left,
        )

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        found = await self._infos([run_id])
        return found[0] if found else None

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs."""
        with away():
            pipeline = self._client.pipeline(transaction=False)
            for run_id in run_ids:
                pipeline.hmget(self._keys.meta(run_id), "message", "out", "expire")
            found = await pipeline.execute() if run_ids else []
        now = self._unix_nano()
        return [
            message.decode() if message and not (outcome and int(expire) <= now) else ""
            for message, outcome, expire in found
        ]

    async def positions(self, run_ids: Sequence[str]) -> list[Position | None]:
        """Return the last position of each run; None for one that is not there."""
        with away():
            pipeline = self._client.pipeline(transaction=False)
            for run_id in run_ids:
                pipeline.hmget(self._keys.meta(run_id), "le", "n")
            found = await pipeline.execute() if run_ids else []
        return [position_of(epoch, last) if last else None for epoch, last in found]

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Write the terminal event of a run whose writer is gone, or is this core."""
        while True:
            info = await self.info(run_id)
            if info is None:
                self._known.give_up(run_id)
                with away():  # Its writer, if there is one, brings these back with it.
                    await self._client.srem(self._keys.open_runs, run_id)
                    await self._client.srem(self._keys.core_runs(self._core), run_id)
                return Appended(AppendStatus.GONE)
            number = info.last.sequence + 1
            answer = await self._committer.run(
                self._calls.append(
                    info.record,
                    epoch,
                    number,
                    self._seal(epoch + 1, number, (payload,)),
                    ending=Ending(outcome, self._unix_nano()),
                    reaping=Reaping(info.last.sequence, info.record.core not in {"", self._core}),
                )
            )
            if answer[0] != b"MOVED":
                self._known.give_up(run_id)
                return _appended(answer)

    async def delete(self, run_id: str) -> None:
        """Forget a run."""
        info = await self.info(run_id)
        if info is not None:
            await self._committer.run(self._calls.delete(info.record))
            self._known.forget(run_id)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write again what Redis has lost of a run, and go on from there."""
        room = self._calls.restore(record, epoch, first)
        events = self._seal(epoch, first, payloads)
        append = self._calls.append(record, epoch, first, events)
        return _appended(await self._committer.run(room, append))

    async def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Return a session's runs, newest first or oldest first."""
        key = self._keys.session_runs(owner, session_id)
        lookup = self._client.zrangebylex if oldest_first else self._client.zrevrangebylex
        first, end = ("-", "+") if oldest_first else ("+", "-")
        start = f"({place_of(*place)}" if place is not None else first
        infos: list[RunInfo] = []
        while len(infos) < max_runs:
            with away():
                places = await lookup(key, start, end, 0, max_runs)
            if not places:
                break
            start = f"({places[-1].decode()}"
            infos += await self._infos([found.decode().split()[1] for found in places])
        return infos[:max_runs]

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first."""
        with away():
            said = await self._client.lrange(self._keys.session_said(owner, session_id), 0, -1)
        return exchanges_of(said, self._unix_nano())

    async def _infos(self, run_ids: Sequence[str]) -> list[RunInfo]:
        """Return what is known of some runs, in one round trip, without those that are not known."""
        with away():
            pipeline = self._client.pipeline(transaction=False)
            for run_id in run_ids:
                pipeline.hmget(self._keys.meta(run_id), *INFO_FIELDS)
            found = await pipeline.execute() if run_ids else []
        infos = [info_of(dict(zip(INFO_FIELDS, values, strict=True))) for values in found if values[0]]
        now = self._unix_nano()
        return [info for info in infos if info.outcome is None or info.expire_unix_nano > now]

    async def _append(
        self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes], ending: Ending | None
    ) -> Appended:
        """Return what became of an append, and let those who read here see it."""
        record = self._known.record(run_id)
        if record is None:
            info = await self.info(run_id)
            if info is None:
                return Appended(AppendStatus.GONE)
            record = info.record
        events = self._seal(epoch, first, payloads)
        call = self._calls.append(record, epoch, first, events, ending=ending)
        appended = _appended(await self._committer.run(call))
        if appended.status is AppendStatus.OK:
            # Sealed again: now they are accepted.
            accepted = self._seal(epoch, first, payloads)
            self._known.accepted(run_id, first, accepted, closed=ending is not None)
        elif appended.status in {AppendStatus.FENCED, AppendStatus.CLOSED}:
            self._known.give_up(run_id)
        return appended

    def _seal(self, epoch: int, first: int, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the whole events of payloads, stamped with now."""
        return seal(payloads, epoch=epoch, first=first, logged_nano=self._stamp())


def _appended(answer: Sequence[Any]) -> Appended:
    """Return what `append.lua` answers, in the contract's words."""
    return Appended(AppendStatus[answer[0].decode()], int(answer[1]) if len(answer) > 1 else 0)
