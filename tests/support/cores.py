"""Real core processes as a test's clients see them, and what their agents wrote down."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from tests.support.processes import Processes, Running, core_is_serving, wait_until
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.run_pb2 import Run, RunSpec

AGENTS = ("slow", "silent", "counts", "asks")

CALL_S = 15.0
"""How long any single call may take: none of these waits for a run's end."""


@dataclass
class CoreProcess:
    """One core, and a channel to it."""

    address: str
    process: Running
    stub: AgentServiceStub
    metadata: Sequence[tuple[str, str]] = ()
    """What its calls carry."""

    async def start(self, agent: str, message: str = "hi", **spec: Any) -> str:
        """Start a run; return its id."""
        request = pb.StartRunRequest(run=RunSpec(agent=agent, message=message, **spec))
        return (await self._call(self.stub.StartRun, request)).run.run_id

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run; return what the answer says of it."""
        return (await self._call(self.stub.CancelRun, pb.CancelRunRequest(run_id=run_id))).run

    async def run(self, run_id: str) -> Run:
        """Return a run's state."""
        return (await self._call(self.stub.GetRun, pb.GetRunRequest(run_id=run_id))).run

    async def _call(self, rpc: Callable[..., Any], request: Message) -> Any:
        """Return the answer to a unary call."""
        return await rpc(request, timeout=CALL_S, metadata=self.metadata)

    def kill(self) -> None:
        """End it as a crash would, and return once it is gone."""
        end_at_once(self.process)


@asynccontextmanager
async def running_cores(
    processes: Processes,
    count: int,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    through: Sequence[str] = (),
    **settings: object,
) -> AsyncIterator[list[CoreProcess]]:
    """Run cores with the same settings, and give clients of theirs. They are killed in the end.

    Args:
        processes: Starts them.
        count: How many.
        host: Where they listen.
        port: The first one's; any free one by default.
        through: A command that runs another one: the core, here.
        settings: TOKENWIRE_ variables, in lower case and without their prefix.
    """
    variables = {f"TOKENWIRE_{name.upper()}": str(value) for name, value in settings.items()}
    ports = [port, *[0] * (count - 1)]
    started = [
        processes.start_core(each, host=host, agents=AGENTS, settings=variables, through=through)
        for each in ports
    ]
    for address, process in started:
        # In a thread: what they need to become ready may be served by this event loop.
        await asyncio.to_thread(process.wait_ready, partial(core_is_serving, address))
    async with AsyncExitStack() as stack:
        for _, process in started:
            stack.callback(end_at_once, process)
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address)) for address, _ in started
        ]
        yield [
            CoreProcess(address, process, AgentServiceStub(channel))
            for (address, process), channel in zip(started, channels, strict=True)
        ]


async def cancel_when_possible(core: CoreProcess, run_id: str) -> None:
    """Repeat a cancellation as a client does while it is refused with UNAVAILABLE."""
    async with asyncio.timeout(20):
        while True:
            try:
                await core.cancel(run_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.2)
            else:
                return


def end_at_once(process: Running) -> None:
    """End a process as a crash would: an orderly end can take long where its Redis is broken."""
    if process.is_running():
        process.send(signal.SIGKILL)
        process.wait()


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
