"""Pages of a session's turns, where the log changes under the reader's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from agent_core.log.budget import LogBudget
from agent_core.log.contract import Batch, End, Position, RunInfo
from agent_core.log.encoding import encode_payload, new_event
from agent_core.log.memory.log import MemoryLog
from agent_core.log.outcome import Outcome
from agent_core.runs.transcript import (
    BATCH_EVENTS,
    MAX_READ_BYTES,
    OWNER_PAGES_AT_ONCE,
    PAGES_AT_ONCE,
    TranscriptPage,
    TranscriptQuery,
    Transcripts,
)
from tests.support.stores import LOST, OTHER, RUN, STOP, payloads, record

ALICE = TranscriptQuery("alice", "s", 20)
COUNT = 3 * BATCH_EVENTS
WHOLE = "".join(map(str, range(1, COUNT + 1)))


def done(text: str, *, omitted: bool = False) -> bytes:
    """Return the payload of a Done."""
    event = new_event(1)
    event.done.final_message = text
    event.done.final_message_omitted = omitted
    return encode_payload(event, 1)


def failed() -> bytes:
    """Return the payload of an Error."""
    event = new_event(1)
    event.error.code = "INTERNAL"
    return encode_payload(event, 1)


class Changing(MemoryLog):
    """A log of which something is done before each read but the first few."""

    def __init__(self, then: Callable[[MemoryLog], None], after_reads: int) -> None:
        super().__init__(LogBudget(run_bytes=64 * 1024 * 1024, total_bytes=256 * 1024 * 1024))
        self._then = then
        self._left = after_reads

    async def read(self, run_id: str, after: Position, max_events: int, max_bytes: int) -> Batch:
        """Do it, then read."""
        self._left -= 1
        if self._left < 0:
            self._then(self)
        return await super().read(run_id, after, max_events, max_bytes)


def nothing(_: MemoryLog) -> None:
    """Change nothing."""


def forget(log: MemoryLog) -> None:
    """Forget the run, as a store does that has no room."""
    if RUN in log._logs:
        log._forget(log._logs[RUN])


def shorten(log: MemoryLog) -> None:
    """Drop all but the run's newest event."""
    log._logs[RUN].trim(1, 0)


async def told(log: MemoryLog, end: bytes, outcome: Outcome) -> str | None:
    """Return the text of a run of three batches that ended so."""
    await log.create(record(session="s", message="?"))
    await log.append(RUN, 1, 1, payloads(1, COUNT))
    await log.close(RUN, 1, COUNT + 1, [end], End(outcome))
    page = await Transcripts(log).page(ALICE)
    assert [(turn.message, turn.info.outcome) for turn in page.turns] == [("?", outcome)]
    return page.turns[0].text


@pytest.mark.parametrize(
    ("end", "outcome", "text"),
    [
        (done("short"), STOP, "short"),
        (done("", omitted=True), STOP, WHOLE),
        (failed(), LOST, WHOLE),
        (done("so far"), Outcome("done", "cancelled"), "so far"),
        (done(""), STOP, ""),
    ],
)
async def test_the_text_is_what_done_repeats_or_else_all_deltas(
    end: bytes, outcome: Outcome, text: str
) -> None:
    """An empty answer is one, too."""
    assert await told(Changing(nothing, 0), end, outcome) == text


@pytest.mark.parametrize("change", [forget, shorten])
@pytest.mark.parametrize("after_reads", [1, 2, 3])
async def test_a_run_that_goes_while_it_is_read_has_no_text(
    change: Callable[[MemoryLog], None], after_reads: int
) -> None:
    """Rather than a part of it; the page has its other turns."""
    assert await told(Changing(change, after_reads), failed(), LOST) is None


async def test_a_run_that_was_forgotten_before_its_end_was_read_has_no_text() -> None:
    """It is the same as one that can't be told."""
    assert await told(Changing(forget, 0), done("short"), STOP) is None


async def test_so_much_is_read_for_one_page_and_no_more() -> None:
    """The page ends early; the next one goes on, and a run that is too much by itself has no text."""
    log = Changing(nothing, 0)
    event = new_event(1)
    event.reasoning_delta.content = "r" * 60 * 1024
    big = encode_payload(event, 1)
    ids = [f"k7q2{number:026}" for number in range(4)]
    for number, (run_id, count) in enumerate(zip(ids, (60, 60, 60, 200), strict=True)):
        await log.create(record(run_id, session="s", create=number))
        await log.append(run_id, 1, 1, [big] * count)
        await log.close(run_id, 1, count + 1, [failed()], End(LOST))
    assert 2 * 60 * len(big) < MAX_READ_BYTES < 3 * 60 * len(big)
    transcripts = Transcripts(log)
    got: list[list[str | None]] = []
    place, more = None, True
    while more:
        page = await transcripts.page(ALICE._replace(place=place))
        got.append([turn.text for turn in page.turns])
        last = page.turns[-1].info.record
        place, more = (last.create_unix_nano, last.run_id), page.more
    assert got == [["", ""], [""], [None]]


class Counting(MemoryLog):
    """Counts how many ask for a session at a time, and answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = 0
        self.answer = asyncio.Event()

    async def session_runs(
        self,
        owner: str,
        session_id: str,
        max_runs: int,
        place: tuple[int, str] | None = None,
        *,
        oldest_first: bool = False,
    ) -> list[RunInfo]:
        """Answer when that is allowed."""
        self.asking += 1
        try:
            await self.answer.wait()
        finally:
            self.asking -= 1
        return await super().session_runs(owner, session_id, max_runs, place, oldest_first=oldest_first)


async def asked(transcripts: Transcripts, owners: Sequence[str]) -> list[asyncio.Task[TranscriptPage]]:
    """Ask for a page for each of some owners, and let all of them come as far as they can."""
    tasks = [
        asyncio.create_task(transcripts.page(ALICE._replace(owner=owner, session_id="t"))) for owner in owners
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_one_who_asks_for_many_pages_keeps_nobody_waiting() -> None:
    """So many are made at a time for each, and so many in all; in the end all are answered."""
    log = Counting()
    transcripts = Transcripts(log)
    hers = await asked(transcripts, ["ann"] * 20)
    assert log.asking == OWNER_PAGES_AT_ONCE
    others = await asked(transcripts, [f"u{number}" for number in range(20)])
    assert log.asking == PAGES_AT_ONCE
    hers[0].cancel()
    others[0].cancel()
    log.answer.set()
    pages = await asyncio.gather(*hers[1:], *others[1:])
    assert pages == [TranscriptPage([], more=False)] * 38
    del hers, others  # Those that were cancelled hold on to their place with their tracebacks.
    assert not transcripts._places_of


async def test_who_asks_for_a_message_is_given_one() -> None:
    """Empty where none is known."""
    log = MemoryLog()
    await log.create(record(message="hello"))
    transcripts = Transcripts(log)
    assert [await transcripts.message(run_id) for run_id in (RUN, OTHER)] == ["hello", ""]
