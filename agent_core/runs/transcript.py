"""What was said in a session, for a client that shows it again: page by page, each of bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from agent_core.log.contract import RunLog
from agent_core.log.errors import LogGoneError
from agent_core.log.position import START, Position
from agent_core.log.records import RunInfo
from tokenwire.v1.event_pb2 import Event

MAX_PAGE_BYTES: Final = 3 * 1024 * 1024
"""The most of one page, in bytes of UTF-8. Clients accept 4 MiB by default."""

MAX_TEXT_BYTES: Final = 1024 * 1024
"""The longest text of one turn, in bytes of UTF-8. With a message of at most 1 MiB, a turn fits a page."""

MAX_READ_BYTES: Final = 8 * 1024 * 1024
"""The most bytes of events that are read for one page: some 50 ms of this process's time."""

TURN_OVERHEAD_BYTES: Final = 1024
"""More than what a turn needs besides message and text: ids, cursors, times."""

TURNS_AT_ONCE: Final = 8
"""How many turns are asked of the store at once. It bounds what is held in memory beside the page."""

BATCH_EVENTS: Final = 512
BATCH_BYTES: Final = 1024 * 1024
"""How much of a run's log is read at once: parsing 512 events takes about a millisecond."""

PAGES_AT_ONCE: Final = 8
OWNER_PAGES_AT_ONCE: Final = 2
"""How many pages are made at a time, in all and for one principal. Others wait for their turn: a page may
take 10 MiB of memory while it is made."""


class TranscriptTurn(NamedTuple):
    """One question of a session, and what was answered."""

    info: RunInfo
    message: str
    """What the user said; empty where the log did not keep it."""
    text: str | None
    """The whole text of an ended run; None while it goes on, and where the log has not the whole text."""

    @property
    def size_bytes(self) -> int:
        """What it takes of a page, at most."""
        return TURN_OVERHEAD_BYTES + len(self.message.encode()) + len((self.text or "").encode())


class TranscriptQuery(NamedTuple):
    """Which of a session's turns are asked for."""

    owner: str
    """The principal that asks."""
    session_id: str
    max_turns: int
    place: tuple[int, str] | None = None
    """Where the page before ended: a run's create_unix_nano and its id; None for the first page."""
    newest_first: bool = False


class TranscriptPage(NamedTuple):
    """Some of a session's turns, in the order that was asked for."""

    turns: list[TranscriptTurn]
    more: bool
    """Whether others follow on these."""


class _Text(NamedTuple):
    """A run's text, and how many bytes of its log were read for it."""

    text: str | None
    read_bytes: int = 0


class Transcripts:
    """Reads sessions from the log.

    Args:
        log: The store.
    """

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._places = asyncio.Semaphore(PAGES_AT_ONCE)
        self._places_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def message(self, run_id: str) -> str:
        """Return what the user said in a run. Whether the caller may know is the caller's to check.

        Args:
            run_id: The run.
        """
        return (await self._log.messages((run_id,)))[0]

    async def page(self, query: TranscriptQuery) -> TranscriptPage:
        """Return a page of a session's turns, of one turn at least where there is one.

        Args:
            query: Which turns.

        Raises:
            LogAwayError: The log can't say.
        """
        # Held while it is used: it is forgotten with the last page of its owner.
        places = self._places_of.setdefault(query.owner, asyncio.Semaphore(OWNER_PAGES_AT_ONCE))
        async with places, self._places:
            infos = await self._log.session_runs(
                query.owner,
                query.session_id,
                query.max_turns + 1,  # one more tells whether there is another page
                query.place,
                oldest_first=not query.newest_first,
            )
            turns = await self._turns(infos[: query.max_turns])
        return TranscriptPage(turns, more=bool(turns) and turns[-1].info is not infos[-1])

    async def _turns(self, infos: Sequence[RunInfo]) -> list[TranscriptTurn]:
        """Return the turns of some runs, up to the first that is too much for one page."""
        turns: list[TranscriptTurn] = []
        size_left, read_left = MAX_PAGE_BYTES, MAX_READ_BYTES
        left = iter(infos)
        while some := list(islice(left, TURNS_AT_ONCE)):
            messages = await self._log.messages([info.record.run_id for info in some])
            ends = await asyncio.gather(*map(self._end, some))
            for info, message, end in zip(some, messages, ends, strict=True):
                text = await self._text(info, end)
                turn = TranscriptTurn(info, message, text.text)
                size_left -= turn.size_bytes
                read_left -= text.read_bytes
                if turns and min(size_left, read_left) < 0:
                    return turns
                turns.append(turn)
        return turns

    async def _end(self, info: RunInfo) -> Event | None:
        """Return a run's terminal event; None where it goes on, or was forgotten meanwhile."""
        if info.outcome is None:
            return None
        before = Position(info.last.epoch, info.last.sequence - 1)
        try:
            batch = await self._log.read(info.record.run_id, before, 1, 1)
        except LogGoneError:
            return None
        return Event.FromString(batch.events[-1]) if batch.events else None

    async def _text(self, info: RunInfo, end: Event | None) -> _Text:
        """Return the whole text of an ended run: as its Done repeats it, else joined from its deltas."""
        if end is None:
            return _Text(None)
        if end.HasField("done") and not end.done.final_message_omitted:
            return _Text(end.done.final_message)
        if info.first.sequence > 1:
            return _Text(None)  # The beginning is gone: what is left is no answer.
        try:
            return await self._joined(info)
        except LogGoneError:
            return _Text(None)

    async def _joined(self, info: RunInfo) -> _Text:
        """Return the text of a run whose log is whole.

        Raises:
            LogGoneError: The run was forgotten meanwhile.
        """
        pieces: list[str] = []
        after, text_bytes, read_bytes = START, 0, 0
        while after.sequence < info.last.sequence:
            batch = await self._log.read(info.record.run_id, after, BATCH_EVENTS, BATCH_BYTES)
            if not batch.events or batch.first != after.sequence + 1:
                return _Text(None, read_bytes)  # It was shortened meanwhile.
            pieces += (Event.FromString(event).text_delta.content for event in batch.events)
            text_bytes += sum(len(piece.encode()) for piece in pieces[-len(batch.events) :])
            read_bytes += sum(map(len, batch.events))
            if text_bytes > MAX_TEXT_BYTES or read_bytes > MAX_READ_BYTES:
                return _Text(None, read_bytes)
            after = batch.end
            await asyncio.sleep(0)  # A store in memory does not wait by itself.
        return _Text("".join(pieces), read_bytes)
