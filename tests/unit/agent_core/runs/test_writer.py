"""The only writer of a run."""

import asyncio
from collections.abc import Sequence

import pytest

from agent_core.runs.log.contract import START, Appended
from agent_core.runs.log.memory import MemoryLog
from agent_core.runs.outcome import Outcome
from agent_core.runs.writer import LogRefusedError, RunWriter
from tests.unit.agent_core.runs.log.test_memory import FAR, RUN, payload, record, texts


class SlowLog(MemoryLog):
    """A store that waits before and after it does what it is asked."""

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        await asyncio.sleep(0)
        appended = await super().append(run_id, epoch, first, payloads)
        await asyncio.sleep(0)
        return appended


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancelled_write_is_made_good_by_the_next(turns: int) -> None:
    """Wherever the cancellation meets it: no event is lost, and none is written twice."""
    log = SlowLog()
    await log.create(record())
    writer = RunWriter(log, RUN)
    await writer.write([payload("1")])
    write = asyncio.create_task(writer.write([payload("2"), payload("3")]))
    for _ in range(turns):
        await asyncio.sleep(0)
    write.cancel()
    await asyncio.wait({write})
    await writer.close(payload("end"), Outcome("done", "stop"))
    said = texts((await log.read(RUN, START, 99, FAR)).entries)
    # Cancelled before its first step, the write was never begun.
    assert said == (["1", "2", "3", "end"] if turns else ["1", "end"])


async def test_writes_at_once_keep_their_order() -> None:
    """The supervisor's terminal event may meet the pump's last write."""
    log = SlowLog()
    await log.create(record())
    writer = RunWriter(log, RUN)
    await asyncio.gather(
        writer.write([payload("1")]),
        writer.write([payload("2")]),
        writer.write([payload("3")]),
        writer.close(payload("4"), Outcome("done", "stop")),
    )
    assert texts((await log.read(RUN, START, 99, FAR)).entries) == ["1", "2", "3", "4"]


async def test_a_log_that_refuses_is_an_error() -> None:
    """The run can't go on: nobody would ever see what it says."""
    log = MemoryLog()
    writer = RunWriter(log, RUN)
    with pytest.raises(LogRefusedError):
        await writer.write([payload("1")])
    with pytest.raises(LogRefusedError):
        await writer.close(payload("2"), Outcome("done", "stop"))
