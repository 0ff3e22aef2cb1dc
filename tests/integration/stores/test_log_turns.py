"""What many runs submit in one turn of the event loop, to each store of runs: none harms another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent_core.log.append import Append, Appended, AppendStatus, AwaitableAppends, End, OnAnswer
from agent_core.log.budget import LogBudget
from agent_core.log.contract import RunLog
from agent_core.log.encoding import MAX_PAYLOAD_BYTES
from agent_core.log.errors import LogAwayError
from agent_core.log.position import START
from agent_core.log.records import Exchange
from agent_core.runs import writer as writer_module
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.support.stores import (
    DURABLE,
    LOST,
    RUN,
    STOP,
    STORE_PARAMETERS,
    WAKE_S,
    Clock,
    Setting,
    all_texts,
    answers_to,
    known,
    open_store,
    payload,
    payloads,
    record,
    texts,
)

RUNS = 1_000

OK = Appended(AppendStatus.OK)


def run_ids(count: int) -> list[str]:
    return [f"k7q2{number:026}" for number in range(count)]


async def created(log: RunLog, count: int) -> list[str]:
    """Create some runs, and return their ids."""
    ids = run_ids(count)
    await asyncio.gather(*(log.create(record(run_id)) for run_id in ids))
    return ids


async def test_a_thousand_runs_submit_in_one_turn(log: RunLog) -> None:
    """Each has its own events, in order, in both turns; nothing is mixed up, and nothing is left out."""
    ids = await created(log, RUNS)
    for first in (1, 3):
        appends = [Append(run_id, 1, first, [payload(f"{run_id} {first}"), payload("and")]) for run_id in ids]
        answers = await answers_to(log, appends)
        assert set(answers) == {OK}
    for run_id in ids[:: RUNS // 20]:
        assert await all_texts(log, run_id) == [f"{run_id} 1", "and", f"{run_id} 3", "and"]
    infos = [await log.info(run_id) for run_id in ids]
    assert {info.last for info in infos if info is not None} == {(1, 4)}


async def test_each_run_of_a_turn_has_its_own_answer(log: RunLog) -> None:
    """One that is fenced, closed, ahead, unknown or late keeps no other from being written."""
    first, fenced, closed, ahead, again, ending, last = await created(log, 7)
    assert await log.reap(fenced, 1, payload("lost"), LOST) == OK
    assert await log.close(closed, 1, 1, payloads(1, 1), End(STOP)) == OK
    assert await log.append(again, 1, 1, payloads(1, 2)) == OK
    answers = await answers_to(
        log,
        [
            Append(first, 1, 1, payloads(1, 2)),
            Append(fenced, 1, 1, payloads(1, 1)),
            Append(closed, 1, 2, payloads(2, 1)),
            Append(ahead, 1, 3, payloads(3, 1)),
            Append("k7q2" + "z" * 26, 1, 1, payloads(1, 1)),
            Append(again, 1, 2, payloads(2, 2)),
            Append(ending, 1, 1, payloads(1, 2), End(STOP)),
            Append(last, 1, 1, payloads(1, 1)),
        ],
    )
    statuses = [AppendStatus.OK, AppendStatus.FENCED, AppendStatus.CLOSED, AppendStatus.GAP]
    statuses += [AppendStatus.GONE, AppendStatus.OK, AppendStatus.OK, AppendStatus.OK]
    assert [getattr(answer, "status", answer) for answer in answers] == statuses
    assert answers[3] == Appended(AppendStatus.GAP, expected=1)
    assert await all_texts(log, first) == ["1", "2"]
    assert await all_texts(log, fenced) == ["lost"]
    assert await all_texts(log, closed) == ["1"]
    assert await all_texts(log, ahead) == []
    assert await all_texts(log, again) == ["1", "2", "3"]
    assert ((await known(log, ending)).outcome, await all_texts(log, ending)) == (STOP, ["1", "2"])
    assert await all_texts(log, last) == ["1"]


async def test_ends_of_a_turn_are_remembered_by_their_own_sessions(log: RunLog) -> None:
    """Many runs end at once where a core goes down."""
    ids = run_ids(20)
    for run_id in ids:
        await log.create(record(run_id, session=f"session {run_id}", owner=f"owner {run_id}"))
    appends = [
        Append(run_id, 1, 1, payloads(1, 1), End(STOP, Exchange("?", f"answer {run_id}"))) for run_id in ids
    ]
    assert await answers_to(log, appends) == [OK] * len(ids)
    for run_id in ids:
        history = await log.history(f"owner {run_id}", f"session {run_id}")
        assert history == [Exchange("?", f"answer {run_id}")]
        assert (await known(log, run_id)).outcome == STOP


async def test_a_huge_event_starves_no_other_run(log: RunLog) -> None:
    """Beside the largest events that there are, small ones are written in the same turns."""
    *small, huge, other = await created(log, 12)
    largest = "x" * (MAX_PAYLOAD_BYTES - 100)
    for first in range(1, 4):
        appends = [Append(huge, 1, first, [payload(largest)]), Append(other, 1, first, [payload(largest)])]
        appends[1:1] = [Append(run_id, 1, first, [payload(str(first))]) for run_id in small]
        assert await answers_to(log, appends) == [OK] * len(appends)
    for run_id in small:
        assert await all_texts(log, run_id) == ["1", "2", "3"]
    for run_id in (huge, other):
        assert (await log.read(run_id, START, 10, 10 * MAX_PAYLOAD_BYTES)).last == (1, 3)
        assert texts((await log.read(run_id, START, 1, 1)).events)[0][:1] == "x"


@pytest.mark.parametrize("store", STORE_PARAMETERS)
async def test_what_is_submitted_before_a_close_is_answered(store: str, tmp_path: Path, clock: Clock) -> None:
    """A core that goes down waits for its last events: what was accepted is there; no answer is missing."""
    setting = Setting(tmp_path, LogBudget(), clock)
    async with open_store(store, setting) as log:
        ids = await created(log, 3)
        appends = [Append(run_id, 1, 1, payloads(1, 2)) for run_id in ids]
        answering = asyncio.create_task(answers_to(log, appends))
        await asyncio.sleep(0)  # They are submitted.
    told = await answering
    for answer in told:
        assert answer == OK or isinstance(answer, LogAwayError)
    if store in DURABLE:
        async with open_store(store, setting) as log:
            for run_id, answer in zip(ids, told, strict=True):
                if answer == OK:
                    assert await all_texts(log, run_id) == ["1", "2"]


class LossyLog(AwaitableAppends):
    """Passes appends on to a store, and loses some: before they are written, or their answers.

    Args:
        log: The store.
        losses: For each append, in order: None, "before" or "after".
    """

    def __init__(self, log: RunLog, losses: list[str | None]) -> None:
        self._log = log
        self._losses = losses
        self.lost = 0

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        loss = self._losses.pop(0) if self._losses else None
        self.lost += loss is not None
        if loss == "before":
            asyncio.get_running_loop().call_soon(on_answer, LogAwayError("not written"))
        elif loss == "after":
            self._log.submit(append, lambda _: on_answer(LogAwayError("the answer is lost")))
        else:
            self._log.submit(append, on_answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


async def test_lost_appends_and_lost_answers_leave_no_hole_and_no_repetition(
    log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten runs whose turns are lost at each step, the last ones too: each log holds 1 to 21, once."""
    monkeypatch.setattr(writer_module, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(writer_module, "RETRY_MOST_S", 0.01)
    ids = await created(log, 10)
    losses: list[str | None] = [None, "after", "before", "after", "after", None, "before"] * 30
    lossy = LossyLog(log, losses)
    writers = [RunWriter(lossy, record(run_id)) for run_id in ids]  # type: ignore[arg-type] # by __getattr__
    for number in range(1, 21):
        for writer in writers:
            writer.write([payload(str(number))])
        await asyncio.sleep(0.001)
    async with asyncio.timeout(WAKE_S):
        await asyncio.gather(*(writer.close(payload("21"), STOP) for writer in writers))
    assert lossy.lost > len(ids)
    for run_id in ids:
        assert await all_texts(log, run_id) == [str(number) for number in range(1, 22)]
        info = await known(log, run_id)
        assert (info.outcome, info.last) == (STOP, (1, 21))


async def test_a_fenced_run_stops_and_the_others_of_its_turns_go_on(log: RunLog) -> None:
    """Another core has reaped it: its writer alone is refused."""
    ids = await created(log, 5)
    writers = {run_id: RunWriter(log, record(run_id)) for run_id in ids}
    for writer in writers.values():
        writer.write(payloads(1, 1))
        await writer.flush()
    assert (await log.reap(ids[2], 1, payload("lost"), LOST)).status is AppendStatus.OK
    for run_id, writer in writers.items():
        if run_id == ids[2]:
            with pytest.raises(LogRefusedError, match="fenced"):
                await writer.close(payload("2"), STOP)
        else:
            writer.write(payloads(2, 1))
            await writer.close(payload("3"), STOP)
    for run_id in ids:
        assert await all_texts(log, run_id) == (["1", "lost"] if run_id == ids[2] else ["1", "2", "3"])


async def test_who_reads_is_given_what_a_turn_wrote_before_its_writer_is_answered(log: RunLog) -> None:
    """Log, then deliver: when a run has ended for its core, its followers have what it said."""
    await log.create(record())
    tail = await log.tail(RUN, START, 10, 10_000)
    seen: list[list[str]] = []

    def on_answer(answer: Appended | Exception) -> None:
        assert answer == OK
        batch = tail.poll()
        assert batch is not None
        seen.append(texts(batch.events))

    log.submit(Append(RUN, 1, 1, payloads(1, 2)), on_answer)
    async with asyncio.timeout(WAKE_S):
        while not seen:
            await asyncio.sleep(0.001)
    assert seen == [["1", "2"]]
    await tail.aclose()
