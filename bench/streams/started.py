"""Bridges that run, each behind a core of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.process_cpu import cpu_s
from bench.streams.bridges import Bridge
from bench.streams.loader import Load
from tests.support.processes import (
    Running,
    clean_environment,
    core_is_serving,
    descendants,
    edge_is_ready,
    free_port,
)

NO_LIMITS: Final = {
    "TOKENWIRE_MAX_RUNS": "0",
    "TOKENWIRE_MAX_PRINCIPAL_RUNS": "0",
    "TOKENWIRE_MAX_PRINCIPAL_STARTS_PER_MINUTE": "0",
    "TOKENWIRE_MAX_FOLLOWS": "0",
    "TOKENWIRE_MAX_PRINCIPAL_FOLLOWS": "0",
}
CORE_SETTINGS: Final = {
    **NO_LIMITS,
    "TOKENWIRE_AGENT": "pace",
    # Otherwise runs that the loader has left go on, and the next round pays for them.
    "TOKENWIRE_DISCONNECT_GRACE_S": "0.2",
    "TOKENWIRE_LOG_RETENTION_S": "5",
    "TOKENWIRE_SESSION_RETENTION_S": "5",
    "TOKENWIRE_LOG_LEVEL": "error",
    "TOKENWIRE_DRAIN_S": "0",
}
EDGE_SETTINGS: Final = {
    "TOKENWIRE_MERGE": "0",  # a frame a token, as the others write
    "TOKENWIRE_MAX_STREAMS": "0",
    "TOKENWIRE_LOG_LEVEL": "error",
    "TOKENWIRE_DRAIN_S": "0",
}

QUIET_SHARE: Final = 0.04
"""The share of a CPU below which core and bridge count as done with the load before."""
QUIET_STEP_S: Final = 0.05
QUIET_STEPS: Final = 2
"""So many steps in a row: in one alone, others may have kept the process from running."""
QUIET_WITHIN_S: Final = 10.0


@dataclass(frozen=True)
class Started:
    """A bridge that runs."""

    bridge: Bridge
    port: int
    edge: Running
    core: Running | None

    @property
    def pids(self) -> dict[str, Sequence[int]]:
        """Return the processes to measure, by name."""
        core = {"core": [self.core.pid]} if self.core else {}
        return {"edge": [self.edge.pid, *descendants(self.edge.pid)], **core}

    def load(self, body: str, streams: int, options: Mapping[str, float | int | str | None]) -> Load:
        """Return a load for it.

        Args:
            body: Of each request, as our own edge wants it.
            streams: How many at once.
            options: Of the loader.
        """
        return Load(self.port, self.bridge.request(body), streams, options, self.pids)

    def wait_quiet(self) -> None:
        """Return when the load before is cleared away: what it has left would be counted as the next one's.

        Raises:
            RuntimeError: It is not within QUIET_WITHIN_S.
        """
        deadline = time.monotonic() + QUIET_WITHIN_S
        pids = [pid for each in self.pids.values() for pid in each]
        quiet_steps = 0
        while time.monotonic() < deadline:
            before = sum(map(cpu_s, pids))
            time.sleep(QUIET_STEP_S)
            is_quiet = sum(map(cpu_s, pids)) - before < QUIET_STEP_S * QUIET_SHARE
            quiet_steps = quiet_steps + 1 if is_quiet else 0
            if quiet_steps == QUIET_STEPS:
                return
        raise RuntimeError(f"{self.bridge.name} is still busy {QUIET_WITHIN_S:g} s after its last stream")


@contextmanager
def _running(
    name: str, command: Sequence[str], settings: Mapping[str, str], folder: Path
) -> Iterator[Running]:
    process = Running(name, command, environment=clean_environment(settings), folder=folder)
    try:
        yield process
    finally:
        process.stop(hurry=True)


@contextmanager
def started(
    bridge: Bridge, traces: Mapping[str, str], *, core_settings: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Run a bridge, and a core for it.

    Args:
        bridge: Built before.
        traces: The variables that turn tracing on, in both processes.
        core_settings: Further settings of the core.
    """
    core_port, port = free_port(), free_port()
    address = f"127.0.0.1:{core_port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenwire-streams-")))
        core = None
        if bridge.has_core:
            settings = {
                **CORE_SETTINGS,
                **traces,
                **(core_settings or {}),
                "TOKENWIRE_GRPC_PORT": str(core_port),
            }
            command = [sys.executable, "-m", "agent_core"]
            core = stack.enter_context(_running("core", command, settings, folder))
            core.wait_ready(lambda: core_is_serving(address))
        variables = {
            **EDGE_SETTINGS,
            **traces,
            **bridge.settings,
            "TOKENWIRE_PORT": str(port),
            "TOKENWIRE_CORE": address,
            "PEER_CORE": address,
        }
        edge = stack.enter_context(_running("edge", bridge.command(port, address), variables, folder))
        edge.wait_ready(lambda: edge_is_ready(f"http://127.0.0.1:{port}"))
        yield Started(bridge, port, edge, core)
