"""The only writer of a run before a store that fails in any order: it holds what was written in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.log.append import Append, Appended, AppendStatus, OnAnswer
from agent_core.log.contract import StoreTraits
from agent_core.log.errors import LogAwayError
from agent_core.log.records import RunRecord
from agent_core.runs import writer as module
from agent_core.runs.writer import RunWriter
from tests.support.stores import STOP, WAKE_S, payload, record

OK: Final = Appended(AppendStatus.OK)
FAULTS: Final = ("none", "lost", "answer lost", "wiped", "set back")


class FaultyLog:
    """One run's log, which forgets and fails by plan.

    Args:
        faults: One for each append or repair, in order; afterwards it does what it should.
        at_once: Whether it answers before `submit` returns.
    """

    traits = StoreTraits(volatile=False, restorable=True)

    def __init__(self, faults: Sequence[str], *, at_once: bool) -> None:
        self.events: list[bytes] | None = []
        """None once it was wiped, until it is restored."""
        self.end: object = None
        self._faults = list(faults)
        self._at_once = at_once
        self._under_way = False

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write, or fail."""
        assert not self._under_way, "a run has one append under way at a time"
        if self._at_once:
            on_answer(self._answer(append))
        else:
            self._under_way = True
            asyncio.get_running_loop().call_soon(self._answer_later, append, on_answer)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Take back what was lost, or fail."""
        del record, epoch
        await asyncio.sleep(0)
        fault = self._fault()
        if fault == "lost":
            raise LogAwayError(fault)
        held = self.events or []
        assert first <= len(held) + 1, "a repair leaves no hole"
        self.events = held[: first - 1] + list(payloads)
        if fault == "answer lost":
            raise LogAwayError(fault)
        return OK

    def _answer_later(self, append: Append, on_answer: OnAnswer) -> None:
        self._under_way = False
        on_answer(self._answer(append))

    def _answer(self, append: Append) -> Appended | Exception:
        fault = self._fault()
        if fault == "lost":
            return LogAwayError(fault)
        if fault == "wiped":
            self.events = None
        if fault == "set back" and self.events:
            self.events = self.events[: len(self.events) // 2]
        answer = self._written(append)
        return LogAwayError(fault) if fault == "answer lost" else answer

    def _written(self, append: Append) -> Appended:
        if self.events is None:
            return Appended(AppendStatus.GONE)
        known = len(self.events) + 1 - append.first
        if known < 0:
            return Appended(AppendStatus.GAP, len(self.events) + 1)
        assert list(append.payloads[:known]) == self.events[append.first - 1 :][: len(append.payloads)]
        self.events += append.payloads[known:]
        self.end = append.end or self.end
        return OK

    def _fault(self) -> str:
        # What has an end is lost no more: its writer has gone.
        return self._faults.pop(0) if self._faults and self.end is None else "none"


STEPS: Final = st.lists(st.sampled_from(["write", "two", "turn", "turns", "check", "room"]), max_size=25)


@settings(max_examples=250, deadline=None)
@given(
    steps=STEPS,
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
    at_once=st.booleans(),
    max_pending=st.sampled_from([1, 10**6]),
)
def test_whatever_a_store_loses_the_log_is_what_was_written(
    steps: list[str], faults: list[str], at_once: bool, max_pending: int
) -> None:
    """Once and in order, with its end; and the log is waited for exactly as long as it was away."""
    with (
        patch.object(module, "RETRY_FIRST_S", 0.0002),
        patch.object(module, "RETRY_MOST_S", 0.001),
        asyncio.Runner() as runner,
    ):
        runner.run(write_all(steps, FaultyLog(faults, at_once=at_once), max_pending))


async def write_all(steps: list[str], log: Any, max_pending: int) -> None:
    away: list[str] = []
    refused: list[str] = []
    writer = RunWriter(
        log,
        record(),
        on_refusal=lambda: refused.append("refused"),
        on_away=lambda _: away.append("away"),
        on_back=lambda: away.append("back"),
        max_pending_bytes=max_pending,
    )
    written: list[bytes] = []
    checks: list[asyncio.Task[None]] = []
    async with asyncio.timeout(WAKE_S):
        for step in steps:
            if step in {"write", "two"}:
                payloads = [payload(str(len(written) + number)) for number in range(1 + (step == "two"))]
                written += payloads
                writer.write(payloads)
            elif step == "check":
                checks.append(asyncio.create_task(checked(writer)))
            elif step == "room":
                await writer.room()
            else:
                await asyncio.sleep(0 if step == "turn" else 0.0005)
        end = payload("end")
        await writer.close(end, STOP)
        await asyncio.gather(*checks)
    writer.detach()
    assert log.events == [*written, end]
    assert log.end is not None
    assert not refused
    assert away == ["away", "back"] * (len(away) // 2)


async def checked(writer: RunWriter) -> None:
    """Ask whether the log has all, which it may be unable to say."""
    try:
        await writer.check()
    except LogAwayError:
        return
