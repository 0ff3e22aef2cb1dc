"""How much memory stays of text that has passed through: in a process of its own, whose memory is its own.

    python -m tests.support.growth streams|pauses

Prints one line of JSON: how many bytes of text have passed, and by how much the process has grown since.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

from opentelemetry.context import Context

from agent_core.agents.catalogue import NamedAgent
from agent_core.agents.events import (
    AgentEvent,
    Custom,
    Progress,
    ReasoningDelta,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
)
from agent_core.log.budget import LogBudget
from agent_core.log.contract import START
from agent_core.log.encoding import DeltaEncoder
from agent_core.log.memory.log import MemoryLog
from agent_core.rpc.responses import ResponseEncoder
from agent_core.runs.follower import FollowRequest
from agent_core.runs.limits import RunLimits
from agent_core.runs.manager import RunManager
from agent_core.runs.state import MAX_PIECE_LENGTH
from tests.support.fed_stream import FedStream
from tests.support.memory import held_bytes
from tokenwire.events import Done
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec

MIB: Final = 1024 * 1024
OWNER: Final = "ann"
EVENT_BYTES: Final = 4_000

WARM_UP_RUNS: Final = 8
"""What is made once for all is made by then."""

RUNS: Final = 48
"""Each of about 1 MiB."""

BUDGET: Final = LogBudget(run_bytes=MIB, total_bytes=4 * MIB, retention_s=0)

PAUSES: Final = 500


async def every_kind(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield about 1 MiB, half of it as text, the rest as all other events that there are."""
    text = "x" * EVENT_BYTES
    for number in range(MIB // EVENT_BYTES // 8):
        for _ in range(2):
            yield text
            yield TextDelta(text)
        yield ReasoningDelta(text)
        yield Progress(None, text)
        yield ToolStart(f"{request.run_id}.{number}", "tool", {"text": text})
        yield ToolResult(f"{request.run_id}.{number}", "tool", {"text": text})
        yield Custom("custom", {"text": text})


async def stream(manager: RunManager) -> int:
    """Start a run and read it to its end, as a core and an edge do. Return the bytes that a browser gets."""
    run_id = await manager.start(
        RunSpec(message="go"),
        NamedAgent("every_kind", every_kind),
        owner=OWNER,
        on_disconnect=ON_DISCONNECT_CONTINUE,
        parent=Context(),
    )
    order = FollowRequest(run_id, OWNER, START, relay=True, say_caught_up=True)
    follower = await manager.follow(order)
    encoder, stream = ResponseEncoder(run_id, 1), FedStream(budget_bytes=MIB)
    written = 0
    try:
        while (given := await follower.next()) is not None:
            stream.feed(encoder.encode(given, time.monotonic_ns(), time.time_ns()))
            written += len(stream.take())
    finally:
        await follower.aclose()
    assert isinstance(stream.state.terminal, Done), stream.state.terminal
    return written


async def streams() -> tuple[int, int]:
    """Return how many bytes were streamed, and by how much the process has grown with them."""
    manager = RunManager(MemoryLog(BUDGET), RunLimits())
    for _ in range(WARM_UP_RUNS):
        await stream(manager)
    before = held_bytes()
    streamed = sum([await stream(manager) for _ in range(RUNS)])
    return streamed, held_bytes() - before


def pauses() -> tuple[int, int]:
    """Return the same of streams that pause after one long delta each: for good, as far as they know."""
    encoders = [DeltaEncoder("text_delta") for _ in range(PAUSES)]
    before = held_bytes()
    encoded = sum(len(encoder.encode("x" * MAX_PIECE_LENGTH, 1, 1, 1)) for encoder in encoders)
    return encoded, held_bytes() - before


if __name__ == "__main__":
    passed, grown = pauses() if sys.argv[1] == "pauses" else asyncio.run(streams())
    sys.stdout.write(json.dumps({"passed_bytes": passed, "grown_bytes": grown}))
