"""An edge with many streams is restarted: how long does a new question take while all come back?

    python -m bench.reconnects [--clients 3000] [--signal TERM|KILL] [--json FILE]

A core and an edge, each a process of its own on loopback; clients follow 50 slow runs, and come back as an
`EventSource` does: after the last `retry:`, with their last id. Once the new edge is ready, a question is
asked every 0.3 s. Prints when all were back, and the time to the first token of the questions meanwhile,
with the machine's load: on a busy one the figures say little. Exit status: 0 when a question took 1.5 s at
most and everybody came back, 1 when not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import uvloop

from bench.event_source import BrokenOffError, Message, request
from tests.support.processes import Running, clean_environment, core_is_serving, edge_is_ready, free_port

RUNS: Final = 50
QUESTION_EVERY_S: Final = 0.3
GOAL_S: Final = 1.5
WITHIN_S: Final = 90.0
SETTLED_S: Final = 3.0
"""How long all follow before the edge is restarted."""
AT_A_TIME: Final = 50
"""How many clients connect at a time at first: it is their coming back that is measured."""

SLOW: Final = json.dumps({"tokens": 400, "rate": 1})
ONE_TOKEN: Final = json.dumps({"tokens": 1})


class Follower:
    """One client that follows a run for as long as it is left alone."""

    def __init__(self, port: int, run_id: str) -> None:
        self.opened = 0
        """How often it has had an event over a new connection."""
        self._port = port
        self._path = f"/api/runs/{run_id}/events"
        self._last_id = ""
        self._retry_ms = 1000
        self._fresh = True

    async def live(self) -> None:
        """Follow, and come back."""
        while True:
            headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
            try:
                async with request(self._port, "GET", self._path, headers) as response:
                    self._fresh = True
                    async for message in response.messages():
                        self._take(message)
            except BrokenOffError:
                pass  # It comes back, as after an end in good order.
            await asyncio.sleep(self._retry_ms / 1000)

    def _take(self, message: Message) -> None:
        """Take in a message."""
        if message.retry_ms is not None:
            self._retry_ms = message.retry_ms
        if message.id:
            self._last_id = message.id
            self.opened += self._fresh
            self._fresh = False


async def ask(port: int, message: str, accept: str) -> tuple[float, str]:
    """Ask a question. Return when its first token, or its answer, was there, and its run."""
    body = {"message": message, "sessionId": uuid4().hex, "agent": "pace", "onDisconnect": "continue"}
    began = time.monotonic()
    async with request(port, "POST", "/api/chat", {"Accept": accept}, json.dumps(body).encode()) as response:
        if response.status == 202:
            run_id: str = json.loads(await response.body())["runId"]
            return time.monotonic() - began, run_id
        async for part in response.messages():
            if part.data and json.loads(part.data).get("type") == "text_delta":
                return time.monotonic() - began, ""
    raise BrokenOffError(f"no token: status {response.status}")


async def measure(clients: int, how: signal.Signals, stand: Stand) -> dict[str, Any]:
    """Return what one restart was like."""
    edge = await asyncio.to_thread(stand.edge)
    runs = [(await ask(stand.port, SLOW, "application/json"))[1] for _ in range(RUNS)]
    followers = [Follower(stand.port, runs[number % RUNS]) for number in range(clients)]
    living: list[asyncio.Task[None]] = []
    try:
        for begin in range(0, clients, AT_A_TIME):
            some = followers[begin : begin + AT_A_TIME]
            living += [asyncio.create_task(follower.live()) for follower in some]
            await _until(lambda: all(follower.opened for follower in some))  # noqa: B023 # it is called here
        await asyncio.sleep(SETTLED_S)
        opened = [follower.opened for follower in followers]
        began = time.monotonic()
        edge.send(how)
        await asyncio.to_thread(edge.wait)
        gone_s = time.monotonic() - began
        await asyncio.to_thread(stand.edge)
        ready_s = time.monotonic() - began
        questions: list[float] = []

        def all_back() -> bool:
            return all(f.opened > before for f, before in zip(followers, opened, strict=True))

        while not all_back() and time.monotonic() - began < WITHIN_S:
            questions.append((await ask(stand.port, ONE_TOKEN, "text/event-stream"))[0])
            await asyncio.sleep(QUESTION_EVERY_S)
        return {
            "clients": clients,
            "signal": how.name,
            "edge_gone_s": round(gone_s, 2),
            "edge_ready_s": round(ready_s, 2),
            "all_back_s": round(time.monotonic() - began, 2) if all_back() else None,
            "questions": len(questions),
            "question_median_s": round(statistics.median(questions), 3) if questions else None,
            "question_worst_s": round(max(questions), 3) if questions else None,
            "load": os.getloadavg()[0],
        }
    finally:
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)


class Stand:
    """A core, and edges one after the other on one port.

    Args:
        folder: Where their output goes.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._core = f"127.0.0.1:{free_port()}"
        self._processes: list[Running] = []

    def core(self) -> None:
        """Start the core; return once it serves."""
        settings = {
            "TOKENWIRE_GRPC_PORT": self._core.rpartition(":")[2],
            "TOKENWIRE_AGENT": "pace",
            "TOKENWIRE_MAX_FOLLOWS": "0",
        }
        self._start("agent_core", settings).wait_ready(lambda: core_is_serving(self._core))

    def edge(self) -> Running:
        """Start an edge; return it once it is ready."""
        settings = {
            "TOKENWIRE_PORT": str(self.port),
            "TOKENWIRE_CORE": self._core,
            "TOKENWIRE_MAX_STREAMS": "0",
        }
        edge = self._start("edge", settings)
        edge.wait_ready(lambda: edge_is_ready(f"http://127.0.0.1:{self.port}"))
        return edge

    def stop(self) -> None:
        """End all of them."""
        for process in reversed(self._processes):
            process.stop()

    def _start(self, module: str, settings: Mapping[str, str]) -> Running:
        process = Running(
            f"{len(self._processes)}-{module}",
            [sys.executable, "-m", module],
            environment=clean_environment({**settings, "TOKENWIRE_LOG_LEVEL": "warning"}),
            folder=self._folder,
        )
        self._processes.append(process)
        return process


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 # thousands of clients change it, and none should pay for it
            await asyncio.sleep(0.02)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the result, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=3000)
    parser.add_argument("--signal", choices=("TERM", "KILL"), default="TERM")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="tokenwire-reconnects-") as folder:
        stand = Stand(Path(folder))
        try:
            stand.core()
            how = signal.Signals[f"SIG{options.signal}"]
            result = uvloop.run(measure(options.clients, how, stand))
        finally:
            stand.stop()
    print(text := json.dumps(result))
    if options.json:
        options.json.write_text(text + "\n")
    worst_s = result["question_worst_s"]
    return 0 if result["all_back_s"] is not None and (worst_s or 0.0) <= GOAL_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
