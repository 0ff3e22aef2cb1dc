"""A core that hangs, as a stopped process does: it listens, takes connections, and says nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import pytest

from tests.support.cores import running_cores
from tests.support.processes import Processes
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.needs("redis"), pytest.mark.usefixtures("transport")]

STARTS = 8
"""Of each kind: that chance places none of them at the core that hangs is next to impossible."""

WITHIN_S = 60.0


async def test_questions_are_answered_while_one_of_two_cores_hangs_and_run_once(
    processes: Processes, redis_server: RedisServer
) -> None:
    """Asked when nobody knows of it yet; the core is stopped until all are answered, then goes on."""
    async with running_cores(processes, 2, store=redis_server.url) as (hangs, other):
        url, _ = processes.edge(f"{hangs.address},{other.address}")
        async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S, trust_env=False) as client:

            async def ask(session: str, accept: str) -> None:
                body = {"message": "3 1", "agent": "counts", "sessionId": session}
                answer = await client.post("/api/chat", json=body, headers={"accept": accept})
                assert answer.status_code in {200, 202}, answer.text
                if answer.status_code == httpx.codes.OK:
                    assert '"type":"done"' in answer.text

            async def runs(session: str) -> list[dict[str, Any]]:
                answer = await client.get(f"/api/sessions/{session}/runs")
                return list(answer.raise_for_status().json()["runs"])

            kinds = ("text/event-stream", "application/json")
            sessions = {f"s{i}-{len(kind)}": kind for i in range(STARTS) for kind in kinds}
            hangs.process.send(signal.SIGSTOP)
            try:
                await asyncio.gather(*(ask(session, kind) for session, kind in sessions.items()))
            finally:
                hangs.process.send(signal.SIGCONT)
            # An answer of the core that hung: it has had all that it was asked before.
            await hangs.start("counts", "1 1")
            for session in sessions:
                assert len(await runs(session)) == 1, session
