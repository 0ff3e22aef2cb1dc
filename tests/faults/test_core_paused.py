"""A core that is stopped for longer than its lease stands, and goes on: its runs are not its own any more."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.support.cores import running_cores, steps, wait_for_agent
from tests.support.processes import Processes
from tests.support.reader import WITHIN_S, reading
from tests.support.redis_server import RedisServer
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED

pytestmark = pytest.mark.needs("redis")

PAUSE_S = 10.0
"""Twice as long as a lease stands."""


async def test_a_paused_core_finds_its_runs_closed_and_stops_their_agents(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Readers get one end, the same at both cores, and nothing that the paused one still had to say."""
    async with running_cores(processes, 2, store=redis_server.url) as (one, other):
        talks, is_silent = await one.start("counts", "100000 5"), await one.start("silent")
        async with (
            reading(talks, one.address) as here,
            reading(talks, other.address) as there,
            reading(is_silent, one.address) as silent_here,
        ):
            await asyncio.gather(here.more(50), there.more(50), silent_here.more(1))
            one.process.send(signal.SIGSTOP)
            try:
                await asyncio.gather(asyncio.sleep(PAUSE_S), there.whole(PAUSE_S))
                assert (await other.run(is_silent)).state == RUN_STATE_ENDED
                assert steps(processes, talks) == ["started"]
            finally:
                one.process.send(signal.SIGCONT)
            for reader in (here, there, silent_here):
                last = (await reader.whole()).events[-1]
                assert (last.epoch, last.error.details["reason"]) == (2, "PRODUCER_LOST")
            assert here.reading.text == there.reading.text
        for run_id in (talks, is_silent):
            await asyncio.to_thread(wait_for_agent, processes, run_id, "cancelled", WITHIN_S)
            assert steps(processes, run_id) == ["started", "cancelled"]
        ends = [(await core.run(talks)).last for core in (one, other)]
        assert ends == [here.reading.cursor] * 2

        # It holds its lease again: what it starts now is its own.
        run_id = await one.start("counts", "20 5")
        async with reading(run_id, other.address) as after:
            assert (await after.whole()).events[-1].HasField("done")
