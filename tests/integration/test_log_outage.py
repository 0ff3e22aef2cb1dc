"""What a core logs while its log is away: an outage, not each run's tries."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from tests.support.core import running_core
from tests.support.redis_server import RedisServer
from tokenwire.v1 import agent_service_pb2 as pb

WITHIN_S = 30.0
RUNS = 25


def important(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what an operator reads of the core."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("agent_core")
    ]


@pytest.mark.needs("redis")
async def test_an_outage_of_redis_is_a_few_lines_for_all_runs_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One when it goes, one when it is back with the number of runs that waited; one for a refused call."""
    redis = RedisServer(tmp_path, "--appendonly", "yes")
    try:
        async with running_core(store=redis.url, redis_prefix=uuid4().hex, drain_s=0.1) as core:
            run_ids = [await core.start("slow") for _ in range(RUNS)]
            caplog.set_level(logging.WARNING)
            caplog.clear()
            redis.kill()
            waits = core.server.manager.log_watch.outage
            async with asyncio.timeout(WITHIN_S):
                while not waits.waiting.issuperset(run_ids):
                    await asyncio.sleep(0.02)
                for _ in range(10):
                    with pytest.raises(grpc.aio.AioRpcError):
                        await core.run(run_ids[0])
            away = important(caplog)
            caplog.clear()
            await asyncio.to_thread(redis.start)
            async with asyncio.timeout(WITHIN_S):
                while waits._outage.lasts:
                    await asyncio.sleep(0.02)
            back = important(caplog)
            for run_id in run_ids:
                await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    finally:
        redis.stop()
    assert sum(line.startswith("the run log can't be reached: events of runs wait") for line in away) == 1
    assert sum("GetRun: the run log can't be reached" in line for line in away) <= 1
    assert len(away) <= 2, away
    assert sum(line.startswith("the run log can be reached again after ") for line in back) == 1, back
    assert [line for line in back if line.endswith(f"; {RUNS} runs waited for it")]
    assert len(back) <= 3, back
