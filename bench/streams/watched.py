"""The agent `pace`, that also writes down when it is cancelled: how soon after its client has left?"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Final

from agent_core.agents import AgentEvent, RunRequest
from agent_core.agents.pace import pace

JOURNAL: Final = "BENCH_JOURNAL"
"""The environment variable with the file's path."""

AGENT: Final = "watched=bench.streams.watched:watched"


async def watched(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield what `pace` does. A line of the journal is the session and the moment of the cancellation."""
    ended = False
    try:
        async for event in pace(request):
            yield event
        ended = True
    finally:
        if not ended:
            os.write(_journal(), f"{request.session_id} {time.monotonic_ns()}\n".encode())


@cache
def _journal() -> int:
    return os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def cancellations(journal: Path) -> dict[int, int]:
    """Return when the stream of each number was cancelled, in CLOCK_MONOTONIC nanoseconds."""
    lines = [line.split() for line in journal.read_text().splitlines()]
    return {int(session.rpartition("-")[2]): int(moment) for session, moment in lines}
