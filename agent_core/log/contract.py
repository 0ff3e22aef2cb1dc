"""The run log: what every store offers.

The core numbers the events, the store does not. Retrying an append changes nothing. Nobody sees an
event that the log has not accepted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple, Protocol, TypeAlias

from agent_core.log.outcome import Outcome
from tokenwire.v1.run_pb2 import OnDisconnect

FIRST_EPOCH: Final = 1


class Position(NamedTuple):
    """A place in a run's log. Positions compare as (epoch, sequence)."""

    epoch: int
    sequence: int


START: Final = Position(FIRST_EPOCH, 0)
"""Before the first event."""


class Exchange(NamedTuple):
    """One question of a session, and what was answered."""

    question: str
    answer: str
    """The text of a run that ended in Done: the text so far of a cancelled one."""


class Batch(NamedTuple):
    """What a reader gets at once.

    All events are of the first epoch, but for one that a reaper wrote, which is the log's last.
    """

    first: int
    """The number of the first of these events; of the one to come, where there are none."""
    events: Sequence[bytes]
    """Whole encoded Events, numbered without holes from `first` on."""
    complete: bool
    """True when the log is closed and nothing comes after these events."""
    last: Position
    """The log's last event at that moment."""

    @property
    def end(self) -> Position:
        """The last of these events; the one before them, where there are none."""
        sequence = self.first + len(self.events) - 1
        return self.last if sequence == self.last.sequence else Position(FIRST_EPOCH, sequence)

    @property
    def begin(self) -> Position:
        """The first of these events; the one to come, where there are none."""
        return self.last if self.first == self.last.sequence else Position(FIRST_EPOCH, self.first)

    def split(self, max_events: int, max_bytes: int) -> tuple[Batch, Batch | None]:
        """Return the first of these events, one at least, and the others; None where there are none.

        Args:
            max_events: The most events of the first part; 1 or more.
            max_bytes: The most bytes of events of the first part.
        """
        head = fitting(self.events[:max_events], max_bytes)
        if len(head) == len(self.events):
            return self, None
        rest = self._replace(first=self.first + len(head), events=self.events[len(head) :])
        return self._replace(events=head, complete=False), rest


def fitting(events: Sequence[bytes], max_bytes: int) -> Sequence[bytes]:
    """Return the first of some events that are so many bytes together, one at least."""
    for count, size_bytes in enumerate(accumulate(map(len, events))):
        if size_bytes > max_bytes:
            return events[: max(1, count)]
    return events


class AppendStatus(enum.Enum):
    """What a store says to an append."""

    OK = "ok"
    """The log holds the events."""
    FENCED = "fenced"
    """Another core writes this run now: stop its agent, write nothing more."""
    GAP = "gap"
    """Events before these are missing: append again from `expected` on."""
    CLOSED = "closed"
    """The run has its terminal event."""
    GONE = "gone"
    """The store does not know the run."""


class Appended(NamedTuple):
    """The answer to an append."""

    status: AppendStatus
    expected: int = 0
    """The next number that the log wants. Told with GAP."""


class End(NamedTuple):
    """How a run's log is closed."""

    outcome: Outcome
    """Which terminal event is the last of its events."""
    exchange: Exchange | None = None
    """What its session is to remember of it, where it belongs to one; None for nothing."""


class Append(NamedTuple):
    """Events of one run that a store is to write, all or none."""

    run_id: str
    epoch: int
    """The writer's generation."""
    first: int
    """The number of the first of these events; the others follow without holes."""
    payloads: Sequence[bytes]
    """From `agent_core.log.encoding.encode_payload`. With an `end` the last one is the terminal event."""
    end: End | None = None
    """How the log is closed with them; None where the run goes on."""


class StoreTraits(NamedTuple):
    """What a writer and a manager have to know of a store."""

    volatile: bool
    """True when the log is lost with its process."""
    restorable: bool
    """True when the store may lose what it has accepted while its writer lives. `restore` writes it again."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a store keeps of a run besides its events, from creation on."""

    run_id: str
    session_id: str
    agent: str
    on_disconnect: OnDisconnect.ValueType
    create_unix_nano: int
    owner: str = ""
    """The principal that started the run: nobody else is told that it exists."""
    request_key: str = ""
    """Names the request that started the run; empty for none. No two runs of a store share one."""
    fingerprint: bytes = b""
    """What that request asked for, hashed: another request under the same key has another one."""
    core: str = ""
    """The core that writes the run, by the name under which it holds its lease. Empty where a store
    belongs to one core."""
    message: str = field(default="", repr=False, compare=False)
    """What the user said: given with `create` and `restore`. A record that is read from a store has none,
    for a message is long, and few need it: ask for it with `messages`. It has no part in `repr`, so that no
    log line and no traceback shows it."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a store knows of a run."""

    record: RunRecord
    first: Position
    """The first event that the log still holds; the first to come, when it holds none."""
    last: Position
    """The last event."""
    outcome: Outcome | None = None
    """How it ended; None while the log is open."""
    end_unix_nano: int = 0
    """When it was closed; 0 while it is open."""
    expire_unix_nano: int = 0
    """When the store forgets it; 0 while it is open."""


def exchange_bytes(exchange: Exchange) -> int:
    """Return what an exchange counts in a session's budget: its text in UTF-8."""
    return len(exchange.question.encode()) + len(exchange.answer.encode())


class LogOpenError(Exception):
    """The store can't be opened. The text says why, for an operator."""


class LogAwayError(Exception):
    """The store can't do it at the moment, and has done nothing of it: try again later."""


class LogFullError(Exception):
    """The store has no room for another run at the moment."""


class PrincipalLogFullError(LogFullError):
    """The store has no room for another run of this owner, as long as so many of hers go on."""


class SessionBusyError(Exception):
    """Another run of the session goes on."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id
        """That run."""


class LogGoneError(Exception):
    """The store does not know the run, or does not know it any more."""


OnAnswer: TypeAlias = Callable[[Appended | Exception], None]
"""What is told of an append: LogAwayError, or a bug, where there is no answer."""


class Tail(Protocol):
    """One reader of one run's log. It waits (`next`), or it is told when to look (`notify`, `poll`)."""

    async def next(self) -> Batch:
        """Return what comes after what was returned before.

        Waits until there is something, the log is closed, or `interrupt` was called: then the batch
        may be empty. After a complete batch it returns empty complete ones. Where the log was trimmed
        past the reader, the batch begins at the log's first event, as it does with `poll`.

        Raises:
            LogGoneError: The store has forgotten the run.
        """

    def poll(self, max_events: int | None = None, max_bytes: int | None = None) -> Batch | None:
        """Return what comes after what was returned before, as far as it is in memory, without waiting.

        An empty batch where there is nothing new; None where the store has to be read for it: call `next`.
        Not to be called while `next` is under way.

        Args:
            max_events: The most events of this batch; as the tail was opened, where it is None.
            max_bytes: The most bytes of this batch, but for the first event; as above.

        Raises:
            LogGoneError: The store has forgotten the run.
        """

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Have something called whenever `poll` may return something else than before.

        Called in the turn of the event loop in which something came, was closed, forgotten or interrupted,
        each time, and perhaps for nothing. Not called for what is there already. Ends with `aclose`.

        Args:
            callback: It must not raise, nor wait; None for nothing more.
        """

    def interrupt(self) -> None:
        """Let `next` return at once, now or the next time, even with nothing."""

    async def aclose(self) -> None:
        """Free what the reader holds. No call of `next` may be under way."""


class RunLog(Protocol):
    """A store of runs. All of its methods may wait, and may be cancelled and then retried.

    Those that write raise LogAwayError when the store can't be written.
    """

    @property
    def traits(self) -> StoreTraits:
        """What kind of store it is. It does not change."""

    async def start(self) -> None:
        """Open the store. Nothing else may be asked of it before.

        Raises:
            LogOpenError: It can't be opened.
        """

    async def aclose(self) -> None:
        """Close the store. Nothing may be asked of it afterwards."""

    async def open_runs(self, core: str | None = None) -> list[str]:
        """Return the ids of the runs without a terminal event.

        Args:
            core: Whose; None for all, whoever writes them.
        """

    async def create(self, record: RunRecord) -> RunRecord:
        """Return the record that stands now: this one, or the earlier one with the same request_key.

        Creating a run again changes nothing. Of the runs of one session and one owner only one can
        go on at a time.

        Raises:
            LogFullError: There is no room for another run.
            PrincipalLogFullError: There is none for another one of this owner.
            SessionBusyError: Another run of its session goes on.
        """

    async def standing(self, request_key: str) -> RunRecord | None:
        """Return the record that `create` would find standing for a request; None where there is none.

        Args:
            request_key: The request's; not empty.
        """

    async def probe(self) -> None:
        """Return if something can be written.

        Raises:
            LogAwayError: Nothing can.
        """

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run with the store's next append, and say what became of them.

        What is submitted in one turn of the event loop, for all runs, is written together; what comes while
        that is under way, after it. Nothing is withdrawn: submitting the same again changes nothing. Events
        that the log has already are passed over.

        Args:
            append: The events. A run has one append under way at a time.
            on_answer: Called once, in a turn of the event loop; by a store that does not wait before `submit`
                returns. It must not raise. It is given LogAwayError where nothing of it was written, perhaps
                because the answer was lost.
        """

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of events that were submitted alone.

        Raises:
            LogAwayError: Nothing was written, or the answer was lost.
        """

    async def close(
        self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes], end: End
    ) -> Appended:
        """Return what became of a run's last events and its end, that were submitted alone.

        Raises:
            LogAwayError: Nothing was written, or the answer was lost.
        """

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Write again what a restorable store has lost of a run, and go on from there.

        What it still has of the run is kept where it reaches up to these events. Otherwise the log
        begins with them: readers whose cursor lies before are told so.

        Args:
            record: As the run was created.
            epoch: The writer's generation.
            first: The number of the first of these events.
            payloads: As with `append`: up to the last one that was accepted.

        Raises:
            NotImplementedError: The store loses nothing: it is not restorable.
        """

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Return events after a position without waiting; one event at least, however large.

        Args:
            run_id: The run.
            after: The last event that the reader has.
            max_events: The most events to return.
            max_bytes: The most bytes of events to return.

        Raises:
            LogGoneError: The store does not know the run.
        """

    async def tail(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Tail:
        """Return a reader that begins after a position. Close it.

        Args:
            run_id: The run.
            after: The last event that the reader has.
            max_events: The most events of one batch.
            max_bytes: The most bytes of one batch.

        Raises:
            LogGoneError: The store does not know the run.
        """

    async def info(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run; None when the store does not know it."""

    async def messages(self, run_ids: Sequence[str]) -> list[str]:
        """Return what the user said in each of some runs, in their order.

        Empty for a run that the store does not know, and for one that was created before stores kept
        messages.

        Args:
            run_ids: The runs. Messages may be long: ask for a few at a time.
        """

    async def reap(self, run_id: str, epoch: int, payload: bytes, outcome: Outcome) -> Appended:
        """Close a run whose writer is gone: write its terminal event in the next epoch.

        Args:
            run_id: The run.
            epoch: The lost writer's generation. FENCED when somebody has reaped it already.
            payload: The terminal event.
            outcome: Which terminal event it is.
        """

    async def delete(self, run_id: str) -> None:
        """Forget a run. Does nothing when the store does not know it."""

    async def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Return a session's runs, newest first, those that have ended with those that go on.

        Args:
            owner: The principal whose session it is.
            session_id: The session; not empty.
            max_runs: The most runs to return.
            place: Only those that come after this one in the order asked for: its create_unix_nano and its
                id.
            oldest_first: The other order.
        """

    async def history(self, owner: str, session_id: str) -> list[Exchange]:
        """Return what a session remembers, oldest first, within the budget.

        Args:
            owner: The principal whose session it is.
            session_id: The session; not empty.
        """
