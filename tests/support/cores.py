"""Real core processes as a test's clients see them, and what their agents wrote down."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from tests.support.processes import Processes, Running, wait_until
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.run_pb2 import Run, RunSpec

AGENTS = ("slow", "silent", "counts")

CALL_S = 15.0
"""How long any single call may take: none of these waits for a run's end."""


@dataclass
class CoreProcess:
    """One core, and a channel to it."""

    address: str
    process: Running
    stub: AgentServiceStub

    async def start(self, agent: str, message: str = "hi", **spec: Any) -> str:
        """Start a run; return its id."""
        request = pb.StartRunRequest(run=RunSpec(agent=agent, message=message, **spec))
        return (await self.stub.StartRun(request, timeout=CALL_S)).run.run_id

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run; return what the answer says of it."""
        return (await self.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), timeout=CALL_S)).run

    async def run(self, run_id: str) -> Run:
        """Return a run's state."""
        return (await self.stub.GetRun(pb.GetRunRequest(run_id=run_id), timeout=CALL_S)).run

    def kill(self) -> None:
        """End it as a crash would, and return once it is gone."""
        self.process.send(signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def running_cores(
    processes: Processes, count: int, *, port: int = 0, through: Sequence[str] = (), **settings: object
) -> AsyncIterator[list[CoreProcess]]:
    """Run cores with the same settings, and give clients of theirs. The processes end with the test.

    Args:
        processes: Starts them.
        count: How many.
        port: The first one's; any free one by default.
        through: A command that runs another one: the core, here.
        settings: TOKENWIRE_ variables, in lower case and without their prefix.
    """
    variables = {f"TOKENWIRE_{name.upper()}": str(value) for name, value in settings.items()}
    started = processes.cores(count, port, agents=AGENTS, settings=variables, through=through)
    async with AsyncExitStack() as stack:
        yield [
            CoreProcess(
                address,
                process,
                AgentServiceStub(await stack.enter_async_context(grpc.aio.insecure_channel(address))),
            )
            for address, process in started
        ]


def steps(processes: Processes, run_id: str) -> list[str]:
    """Return what a run's agents wrote down, in order: `started`, then how each ended."""
    if not processes.journal.exists():
        return []
    entries = map(json.loads, processes.journal.read_text().splitlines())
    return [entry["event"] for entry in entries if entry["run_id"] == run_id]


def wait_for_agent(processes: Processes, run_id: str, step: str, within_s: float) -> None:
    """Return once a run's agent has come to a step, such as "cancelled".

    Raises:
        AssertionError: It did not within the time.
    """
    wait_until(lambda: step in steps(processes, run_id), f"the agent of {run_id} has {step}", within_s)
