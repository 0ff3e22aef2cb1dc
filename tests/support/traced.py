"""Real processes that export their spans through rotel to a sink, and the means to disturb them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from tests.support.conducted import AGENT
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import PATIENT, Processes, Running, wait_until
from tests.support.proxy import Proxy, proxy_to
from tests.support.rotel import rotel_and_sink
from tests.support.starvation import Starvation
from tests.support.timed_stream import TimedStream
from tests.support.token_rows import StallSpan

STALL_MS: Final = 600
STALL_NANO: Final = STALL_MS * 1_000_000

LOOKS: Final = 3
"""So often in a row a process must be found asleep to be taken for idle."""

RECEIVES_BYTES: Final = 65_536
"""What the kernel holds for a client: little, so that one that does not read is soon felt."""


StartCore: TypeAlias = Callable[[Processes, dict[str, str]], tuple[str, Running]]
"""Starts a core with these settings; returns its address and its process, once it serves."""


def start_core(processes: Processes, settings: dict[str, str]) -> tuple[str, Running]:
    """Start a core as everywhere."""
    return processes.core(agents=(), settings=settings)


class Traced(NamedTuple):
    """A core, and an edge that calls it through a relay."""

    processes: Processes
    sink: OtlpSink
    settings: dict[str, str]
    core: Running
    core_address: str
    relay: Proxy
    edge: Running
    url: str
    starvation: Starvation

    def chat(self, message: str, *, timing: bool = True, session: str = "s") -> TimedStream:
        """Ask the agent that the test conducts; each event comes with its stamps where they are wanted."""
        body = {"message": message, "sessionId": session, "agent": "conducted"}
        query = "?timing=1" if timing else ""
        return TimedStream(self.url, f"POST /api/chat{query}", body, receive_buffer_bytes=RECEIVES_BYTES)

    def assert_machine_stood(self, stall: StallSpan) -> None:
        """Say that a stall which nobody planted is this machine's own doing."""
        stood = self.starvation.within(stall.end_nano - STALL_NANO, stall.end_nano)
        assert 2 * stood > STALL_NANO, f"nobody planted it, nor did the machine stand: {stall}"


@contextmanager
def traced_processes(
    processes: Processes, store: str = "memory", start: StartCore = start_core
) -> Iterator[Traced]:
    """Run them.

    Args:
        processes: Starts and ends them.
        store: Where the core has its log.
        start: Starts the core.
    """
    with rotel_and_sink(processes) as (sink, endpoint):
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_METRICS_EXPORTER": "none",
            "TOKENWIRE_STALL_MS": str(STALL_MS),
            "TOKENWIRE_AGENT": AGENT,
            "TOKENWIRE_STORE": store,
            **PATIENT,
            # A reader that has stopped must find what it has missed.
            "TOKENWIRE_LOG_RUN_BYTES": str(64 * 2**20),
        }
        address, core = start(processes, settings)
        with proxy_to(address) as relay:
            url, edge = processes.edge(relay.address, settings=settings)
            starvation = Starvation(processes)
            yield Traced(processes, sink, settings, core, address, relay, edge, url, starvation)
            # What is being exported is not to meet a hop that has gone.
            for process in (edge, core):
                process.stop()


def wait_idle(*processes: Running) -> None:
    """Return once processes have done all that they had to do: they sleep whenever one looks."""
    seen = 0

    def idle() -> bool:
        nonlocal seen
        seen = seen + 1 if all(_is_asleep(process.pid) for process in processes) else 0
        return seen >= LOOKS

    wait_until(idle, "the processes are idle")


@contextmanager
def stopped(process: Running) -> Iterator[None]:
    """Stop a process, with all that it has open."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def _is_asleep(pid: int) -> bool:
    """Return whether none of a process's threads has anything to do."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)
