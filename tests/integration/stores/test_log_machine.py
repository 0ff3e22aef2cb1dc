"""Any order of writes, losses, readers and ends, against each store: nothing is lost in silence.

What a reader gets is exactly 1, 2, 3 … without a hole or a repetition, or it is told of the hole
first; and it ends in exactly one terminal event. A model says what the log must hold.

One module, since it is one state machine: its rules share the model and the readers.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent_core.log.append import Append, Appended, AppendStatus, End
from agent_core.log.budget import LogBudget
from agent_core.log.contract import RunLog
from agent_core.log.encoding import NANO
from agent_core.log.position import Position
from agent_core.runs.follower import Resync
from tests.support.log_model import Reader, Run
from tests.support.redis_server import shared_redis
from tests.support.stores import (
    DURABLE,
    LOST,
    STOP,
    STORE_PARAMETERS,
    WAKE_S,
    Clock,
    Setting,
    answers_to,
    follow,
    open_store,
    payload,
    record,
)

T = TypeVar("T")

BUDGET = LogBudget(run_events=16, run_bytes=3_000, retention_s=100)
RUNS = st.integers(0, 1)
READERS = st.integers(0, 2)
MOST_READERS = 3
SIZES = st.sampled_from([1, 40, 700, 4_000])
PARTS = st.tuples(st.integers(0, 2), st.sampled_from(["next", "again", "gap", "end"]), st.integers(1, 9))
"""What a run has in a turn: which run, what of it, and how many events."""


class LogMachine(RuleBasedStateMachine):
    """Drives one store. Subclasses say which."""

    store = "memory"
    seen: Counter[str]
    """What readers were given, in all."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="tokenwire-log-"))
        self.clock = Clock()
        self.runs: dict[int, Run] = {}
        self.past: list[Run] = []
        """Ended ones, whose place another has taken."""
        self.made = 0
        self.log: RunLog = self.wait(self.open())

    async def open(self) -> RunLog:
        setting = Setting(self.folder, BUDGET, self.clock)
        return await self.stack.enter_async_context(open_store(self.store, setting))

    def wait(self, coroutine: Coroutine[object, object, T]) -> T:
        """Return what a coroutine returns; an event loop that is stuck fails."""

        async def in_time() -> T:
            async with asyncio.timeout(WAKE_S):
                return await coroutine

        return self.runner.run(in_time())

    # What a writer does.

    @rule(number=RUNS)
    def create(self, number: int) -> None:
        """The creation of a known run again."""
        run = self.known(number)
        assert self.wait(self.log.create(record(run.run_id))) == record(run.run_id)

    @rule(number=RUNS, count=st.integers(1, 20), size=SIZES)
    def append(self, number: int, count: int, size: int) -> None:
        """The next events."""
        run = self.open_one(number)
        first = len(run.texts) + 1
        texts = [f"{sequence}".ljust(size, ".") for sequence in range(first, first + count)]
        run.texts += texts
        appended = self.wait(self.log.append(run.run_id, run.epoch, first, list(map(payload, texts))))
        assert appended.status is AppendStatus.OK

    @rule(number=RUNS, back=st.integers(0, 30), count=st.integers(0, 30))
    def duplicate(self, number: int, back: int, count: int) -> None:
        """A retry of events that the log has, trimmed or not, before the end or after it."""
        run = self.known(number)
        first = max(1, len(run.texts) + 1 - back)
        again = list(map(payload, run.texts[first - 1 : first - 1 + count]))
        appended = self.wait(self.log.append(run.run_id, run.epoch, first, again))
        assert appended.status is AppendStatus.OK

    @precondition(lambda self: self.store == "redis")
    @rule(number=RUNS, count=st.integers(1, 9), size=SIZES, wiped=st.booleans())
    def lose(self, number: int, count: int, size: int, *, wiped: bool) -> None:
        """The store is set back to before an append, or has lost the run: its writer writes it again.

        The other stores lose nothing that they have accepted.
        """
        run = self.open_one(number)
        kept, client = len(run.texts), shared_redis().client
        keys = [self.log._keys.meta(run.run_id), self.log._keys.log(run.run_id)]
        before = [client.dump(key) for key in keys]
        self.append(number, count, size)
        client.delete(*keys)
        if not wiped:
            for key, dump in zip(keys, before, strict=True):
                if dump is not None:
                    client.restore(key, 0, dump)
        appended = self.wait(self.log.append(run.run_id, 1, len(run.texts) + 1, ()))
        assert appended == ((AppendStatus.GONE, 0) if wiped else (AppendStatus.GAP, kept + 1))
        first = run.first if wiped else kept + 1
        lost = list(map(payload, run.texts[first - 1 :]))
        restored = self.wait(self.log.restore(record(run.run_id), 1, first, lost))
        assert restored.status is AppendStatus.OK

    @rule(number=RUNS, ahead=st.integers(1, 3), closing=st.booleans())
    def gap(self, number: int, ahead: int, *, closing: bool) -> None:
        """Events that do not follow."""
        run = self.known(number)
        first = len(run.texts) + 1 + ahead
        events = [payload("too early")]
        if closing:
            appended = self.wait(self.log.close(run.run_id, run.epoch, first, events, End(STOP)))
        else:
            appended = self.wait(self.log.append(run.run_id, run.epoch, first, events))
        assert appended == (AppendStatus.GAP, len(run.texts) + 1)

    @rule(number=RUNS, count=st.integers(1, 4))
    def close(self, number: int, count: int) -> None:
        """The last events and the end, twice; then nothing more."""
        run = self.open_one(number)
        first = len(run.texts) + 1
        texts = [f"last {sequence}" for sequence in range(first, first + count)]
        run.texts += texts
        self.ended(run)
        for _ in range(2):
            closing = self.log.close(run.run_id, run.epoch, first, list(map(payload, texts)), End(STOP))
            assert self.wait(closing).status is AppendStatus.OK
        late = self.log.append(run.run_id, run.epoch, len(run.texts) + 1, [payload("late")])
        assert self.wait(late).status is AppendStatus.CLOSED

    @rule(parts=st.lists(PARTS, min_size=2, max_size=3, unique_by=lambda part: part[0]), size=SIZES)
    def turn(self, parts: list[tuple[int, str, int]], size: int) -> None:
        """What several runs submit in one turn of the event loop: each is answered as if it were alone."""
        appends, expected = [], []
        for number, what, count in parts:
            run = self.open_one(number)
            first = len(run.texts) + 1
            end, texts = None, [str(sequence).ljust(size, ".") for sequence in range(first, first + count)]
            answer = Appended(AppendStatus.OK)
            if what == "again":
                first = max(1, first - count)
                texts = run.texts[first - 1 :]
            elif what == "gap":
                answer = Appended(AppendStatus.GAP, first)
                first += 1
            else:
                run.texts += texts
            if what == "end":
                end = End(STOP)
                self.ended(run)
            appends.append(Append(run.run_id, run.epoch, first, list(map(payload, texts)), end))
            expected.append(answer)
        assert self.wait(answers_to(self.log, appends)) == expected
        self.seen["turn"] += 1

    @rule(number=RUNS)
    def reap(self, number: int) -> None:
        """The writer is gone."""
        run = self.known(number)
        if not run.closed:
            run.texts.append("lost")
            run.epoch += 1
            self.ended(run)
            reaped = self.wait(self.log.reap(run.run_id, run.epoch - 1, payload("lost"), LOST))
            assert reaped.status is AppendStatus.OK
        again = self.wait(self.log.reap(run.run_id, run.epoch, payload("again"), LOST))
        assert again.status is AppendStatus.CLOSED

    @rule(number=RUNS, ahead=st.integers(-3, 3))
    def zombie(self, number: int, ahead: int) -> None:
        """A writer that was taken for lost comes back."""
        run = self.known(number)
        if run.epoch == 1:
            run = self.open_one(number)
            self.reap(number)
        first, events = max(1, len(run.texts) + ahead), [payload("zombie")]
        for appended in (
            self.wait(self.log.append(run.run_id, 1, first, events)),
            self.wait(self.log.close(run.run_id, 1, first, events, End(STOP))),
            self.wait(self.log.reap(run.run_id, 1, events[0], LOST)),
        ):
            assert appended.status is AppendStatus.FENCED

    @rule(number=RUNS)
    def delete(self, number: int) -> None:
        """The run is forgotten; so are its readers, who are told."""
        run = self.runs.pop(number, None)
        if run is not None:
            self.wait(self.log.delete(run.run_id))
            self.forgotten(run)

    @rule(seconds=st.integers(1, 60))
    def time_passes(self, seconds: int) -> None:
        """Ended runs are forgotten when their time has come."""
        self.clock.unix_nano += seconds * NANO
        expired = [run for run in self.all() if run.closed and run.expire_unix_nano <= self.clock.unix_nano]
        for run in expired:
            assert self.wait(self.log.info(run.run_id)) is None
            self.wait(self.log.delete(run.run_id))
            self.forgotten(run)
        self.runs = {number: run for number, run in self.runs.items() if run not in expired}
        self.past = [run for run in self.past if run not in expired]

    # What readers do.

    @rule(
        number=RUNS,
        share=st.floats(0, 1),
        events=st.integers(1, 8),
        size=st.sampled_from([1, 900, 10**6]),
        polls=st.booleans(),
    )
    def attach(self, number: int, share: float, events: int, size: int, *, polls: bool) -> None:
        """A reader comes, with a cursor that some earlier one had: one that waits, or one that polls."""
        run = self.known(number)
        if len(run.readers) < MOST_READERS:
            cursor = int(share * len(run.texts))
            run.readers.append(self.wait(self.attached(run, cursor, events, size, polls=polls)))

    @rule(number=RUNS, ahead=st.integers(1, 3))
    def attach_ahead(self, number: int, ahead: int) -> None:
        """A reader knows events that the log does not: it is told so first."""
        run = self.known(number)
        if len(run.readers) < MOST_READERS:
            reader = self.wait(self.attached(run, len(run.texts) + ahead, 4, 10**6))
            given = self.wait(reader.follower.next())
            assert isinstance(given, Resync)
            assert given.reason == "ahead"
            reader.take(given)
            run.readers.append(reader)

    @rule(number=RUNS, index=READERS)
    def read(self, number: int, index: int) -> None:
        """A reader takes what is next, or waits for it."""
        self.wait(self.reader(number, index).read())

    @rule(number=RUNS, index=READERS, events=st.integers(1, 8))
    def come_back(self, number: int, index: int, events: int) -> None:
        """A reader's connection breaks, and it resumes at its cursor."""
        reader = self.reader(number, index)
        if not reader.finished:
            self.wait(reader.leave())
            reader.follow(self.wait(self.attached(reader.run, reader.cursor, events, 10**6)).follower)

    @rule(number=RUNS, index=READERS)
    def leave(self, number: int, index: int) -> None:
        """A reader leaves for good."""
        reader = self.reader(number, index)
        reader.run.readers.remove(reader)
        self.wait(reader.leave())

    @precondition(lambda self: self.store in DURABLE)
    @rule()
    def restart(self) -> None:
        """The store is closed and opened again: what it accepted is there."""
        readers = [reader for run in self.all() for reader in run.readers]
        for reader in readers:
            self.wait(reader.leave())

        async def again() -> RunLog:
            await self.stack.aclose()
            return await self.open()

        self.log = self.wait(again())
        for reader in readers:
            if reader.finished:
                reader.run.readers.remove(reader)  # It has nothing more to read, and the old log is closed.
            else:
                reader.follow(self.wait(self.attached(reader.run, reader.cursor, 4, 10**6)).follower)

    # What always holds.

    @invariant()
    def the_log_is_what_was_written(self) -> None:
        """First and last, outcome and budget."""
        opened = set()
        for run in self.all():
            info = self.wait(self.log.info(run.run_id))
            assert info is not None
            assert info.record == record(run.run_id)
            assert (info.outcome is not None) == run.closed
            assert info.last.sequence == len(run.texts)
            held = info.last.sequence - info.first.sequence + 1
            assert min(1, len(run.texts)) <= held <= BUDGET.run_events
            assert info.first.sequence >= run.first, "what was trimmed came back"
            if not run.closed:
                opened.add(run.run_id)
            run.first = info.first.sequence
        assert set(self.wait(self.log.open_runs())) == opened

    def teardown(self) -> None:
        """Every run comes to its end, and every reader to its one terminal event."""
        try:
            for number, run in self.runs.items():
                if not run.closed:
                    self.close(number, 1)
            for run in self.all():
                for reader in run.readers:
                    while not reader.finished:
                        self.wait(reader.read())
                    assert reader.terminals == 1 or reader.cursor == len(run.texts)
                    assert self.wait(reader.follower.next()) is None
                    self.wait(reader.leave())
        finally:
            self.wait(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    # How.

    def all(self) -> list[Run]:
        return [*self.past, *self.runs.values()]

    def known(self, number: int) -> Run:
        """Return a run: a new one, with a reader, where there is none."""
        run = self.runs.get(number)
        if run is None:
            run = self.runs[number] = Run(f"k7q2{self.made:026}")
            self.made += 1
            assert self.wait(self.log.create(record(run.run_id))) == record(run.run_id)
            polls = bool(self.made % 2)
            run.readers.append(self.wait(self.attached(run, 0, 4, 10**6, polls=polls)))
        return run

    def open_one(self, number: int) -> Run:
        """Return a run that goes on: a new one where the last has ended."""
        run = self.known(number)
        if run.closed:
            self.past.append(self.runs.pop(number))
            run = self.known(number)
        return run

    def reader(self, number: int, index: int) -> Reader:
        """Return a reader of a run: a new one where there is none."""
        run = self.known(number)
        if not run.readers:
            run.readers.append(self.wait(self.attached(run, 0, 4, 10**6)))
        return run.readers[index % len(run.readers)]

    def ended(self, run: Run) -> None:
        run.closed = True
        run.expire_unix_nano = self.clock.unix_nano + 100 * NANO

    def forgotten(self, run: Run) -> None:
        for reader in run.readers:
            self.wait(reader.leave(gone=True))

    async def attached(self, run: Run, cursor: int, events: int, size: int, *, polls: bool = False) -> Reader:
        info = await self.log.info(run.run_id)
        assert info is not None
        after = Position(1 if cursor < len(run.texts) else info.last.epoch, cursor)
        follower = await follow(self.log, run.run_id, after, events, size)
        finished = run.closed and cursor == len(run.texts)
        at_once = (events, size) if polls else None
        return Reader(run, follower, cursor, at_once, finished=finished, seen=self.seen)


@pytest.mark.parametrize("store", STORE_PARAMETERS)
def test_readers_get_all_or_are_told(store: str) -> None:
    """In any order of events, with each store."""
    seen: Counter[str] = Counter()
    machine = type(f"{store.title()}Machine", (LogMachine,), {"store": store, "seen": seen})
    limits = settings(
        max_examples=80,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)
    # A machine that does not get that far would prove nothing.
    assert all(seen[kind] > 3 for kind in ("Batch", "CaughtUp", "trimmed", "ahead", "polled", "turn")), seen
    assert store == "memory" or seen["not here"] > 3, seen
