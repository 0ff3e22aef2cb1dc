"""The run log: what every store offers.

The core numbers the events, the store does not. Retrying an append changes nothing. No reader sees an
event that the log has not accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from agent_core.log.append import Append, Appended, AppendStatus, End, OnAnswer
from agent_core.log.batch import Batch, fitting
from agent_core.log.errors import (
    LogAwayError,
    LogFullError,
    LogGoneError,
    LogOpenError,
    PrincipalLogFullError,
    SessionBusyError,
)
from agent_core.log.position import FIRST_EPOCH, START, Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord, exchange_bytes

__all__ = [
    "FIRST_EPOCH",
    "START",
    "Append",
    "AppendStatus",
    "Appended",
    "Batch",
    "End",
    "Exchange",
    "LogAwayError",
    "LogFullError",
    "LogGoneError",
    "LogOpenError",
    "OnAnswer",
    "Outcome",
    "Position",
    "PrincipalLogFullError",
    "RunInfo",
    "RunLog",
    "RunRecord",
    "SessionBusyError",
    "StoreTraits",
    "Tail",
    "exchange_bytes",
    "fitting",
]  # all but three: until every module imports them from where they are


class StoreTraits(NamedTuple):
    """What a writer and a manager have to know of a store."""

    volatile: bool
    """True when the log is lost with its process."""
    restorable: bool
    """True when the store may lose what it has accepted while its writer lives. `restore` writes it again."""


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
