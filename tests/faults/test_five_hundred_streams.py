"""What one core or one client does to five hundred streams of one edge, on real processes, over one link."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from bench.checking_clients import Crowd, Order, Watched
from bench.event_source import request
from tests.support.processes import PATIENT, Processes, Running, descendants, wait_until

STREAMS: Final = 500
LIVE: Final = 475
"""At least so many are in the middle of a run at a time: a client whose run has ended begins another one."""

WITHIN_S: Final = 90.0
STOPPED_S: Final = 3.0
FLOOD: Final = Order((), tokens=15_000, rate=0, size=200)
"""3 MB: more than the buffers on the way take, and less than the log keeps of a run."""
GROWS_BYTES: Final = 32 * 1024 * 1024

SETTINGS: Final = {
    "TOKENWIRE_AGENT": "pace",
    "TOKENWIRE_WRITE_DEADLINE_S": "4",
    "TOKENWIRE_CLIENT_BUDGET_BYTES": "65536",
    "TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL": "0",
    "TOKENWIRE_STARTS_PER_MINUTE": "0",
    "TOKENWIRE_MAX_PRINCIPAL_RUNS": "0",
    "TOKENWIRE_MAX_PRINCIPAL_STARTS_PER_MINUTE": "0",
    "TOKENWIRE_MAX_PRINCIPAL_FOLLOWS": "0",
    "TOKENWIRE_MAX_FOLLOWS": "0",
}

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("five hundred streams")]


@dataclass
class Site:
    """A core and an edge."""

    core: Running
    edge: Running
    port: int
    """The edge's."""


@pytest.fixture(scope="module")
def site(module_processes: Processes) -> Site:
    """Processes that these tests share."""
    address, core = module_processes.core(agents=(), settings=SETTINGS)
    url, edge = module_processes.edge(address, settings=SETTINGS | PATIENT)
    port = urlsplit(url).port
    assert port
    return Site(core, edge, port)


@contextmanager
def crowd_at(site: Site) -> Iterator[Crowd]:
    """Have all streams live; require that each comes to its end undisturbed, and that nothing is missing."""
    crowd = Crowd(Order((site.port,), tokens=30, rate=2), STREAMS)
    crowd.start()
    try:
        wait_until(lambda: crowd.live >= LIVE, "the streams are live", WITHIN_S)
        yield crowd
        crowd.finish(WITHIN_S)
    finally:
        crowd.abandon()
    assert [run.wrong for run in crowd.runs if run.wrong] == []
    assert sum((run.interruptions for run in crowd.runs), Counter()) == {}
    assert {(run.lost, run.duplicated, *run.ends) for run in crowd.runs} == {(0, 0, "done")}
    assert len(crowd.runs) >= STREAMS
    assert site.core.stderr.count("has opened a link") == 1, "the link was replaced, or never used"


def rss_bytes(process: Running) -> int:
    """Return the resident memory of a process and of its children."""
    pids = [process.pid, *descendants(process.pid)]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)


def test_a_core_that_stands_still_for_three_seconds_loses_no_stream(site: Site) -> None:
    """The same streams go on over the same link, where they were: their clients see a pause."""
    with crowd_at(site) as crowd:
        site.core.send(signal.SIGSTOP)
        try:
            time.sleep(STOPPED_S)
        finally:
            site.core.send(signal.SIGCONT)
    assert sum(run.silence_s >= STOPPED_S - 0.5 for run in crowd.runs) >= LIVE * 0.9, "it did not stand still"


async def test_one_that_never_reads_takes_nothing_from_the_others_and_loses_nothing(site: Site) -> None:
    """It is held to its budget and cut off at the deadline; when it comes back, all is there."""
    with crowd_at(site):
        before = rss_bytes(site.edge)
        run_id = stuck_at(site)
        grown = rss_bytes(site.edge) - before
    assert grown < GROWS_BYTES
    back = Watched(FLOOD, run_id=run_id, last=1, last_id=f"{run_id}.1.1")
    headers = {"Last-Event-ID": back.last_id}
    async with request(site.port, "GET", f"/api/runs/{run_id}/events", headers) as response:
        async for message in response.messages():
            back.take(message, 0.0)
    assert (back.lost, back.duplicated, back.ends, back.wrong) == (0, 0, ["done"], [])


def stuck_at(site: Site) -> str:
    """Have a client that reads nothing but the beginning; return its run once it was cut off."""
    body = json.dumps({"message": FLOOD.message, "sessionId": "stuck", "onDisconnect": "continue"})
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        stuck.settimeout(WITHIN_S)
        stuck.connect(("127.0.0.1", site.port))
        stuck.sendall(
            f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += stuck.recv(512)
        run_id = head.lower().partition(b"run-id: ")[2].partition(b"\r\n")[0].decode()
        wait_until(lambda: f"run {run_id} does not read" in site.edge.stderr, "it is cut off", WITHIN_S)
    return run_id
