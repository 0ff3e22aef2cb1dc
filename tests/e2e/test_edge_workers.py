"""One edge of two processes: what is open when one dies, or when all end, goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from agent_core.agents.pace import pace_text
from tests.support.processes import (
    PATIENT,
    TOKENWIRE,
    Processes,
    Running,
    descendants,
    free_port,
    is_alive,
    wait_until,
)
from tests.support.sse_reader import SseReader

STREAMS, TOKENS, SIZE = 40, 120, 5
WITHIN_S = 60.0
READY = re.compile(r"edge worker (\d) of 2 \(pid (\d+)\) ready")
METRICS = re.compile(r"metrics on (http://\S+)")


@dataclass
class Follower:
    """A client that starts a run and reads it to its end, on a new connection each time."""

    client: httpx.AsyncClient
    name: str
    tokens: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    connections: int = 0

    async def read(self) -> None:
        """Return when the end has come."""
        body = {"message": json.dumps({"tokens": TOKENS, "size": SIZE, "rate": 20}), "agent": "pace"}
        headers = {"idempotency-key": self.name}
        last = ""
        while not self.ends:
            self.connections += 1
            run_id = last.partition(".")[0]
            order = ("GET", f"/api/runs/{run_id}/events") if last else ("POST", "/api/chat")
            more = {"headers": {"last-event-id": last}} if last else {"headers": headers}
            sent = {} if last else {"json": {**body, "sessionId": self.name}}
            reader = SseReader()
            try:
                async with self.client.stream(*order, **more, **sent) as response:
                    if response.status_code == 200:
                        async for piece in response.aiter_raw():
                            reader.feed(piece)
                            self._take(reader)
            except httpx.TransportError:
                pass  # its worker has died, or the edge is not there
            last = reader.last_id or last
            await asyncio.sleep(0.1)

    def _take(self, reader: SseReader) -> None:
        for message in reader.messages:
            event = json.loads(message.data) if message.event == "message" else {}
            if event.get("type") == "text_delta":
                self.tokens.append(event["content"])
            elif event.get("type") in {"done", "error"}:
                self.ends.append(event["type"])
        reader.messages.clear()


@asynccontextmanager
async def followers(url: str) -> AsyncIterator[tuple[list[Follower], asyncio.Task[None]]]:
    """Return clients that have begun to read, and what is done when all have come to the end."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=WITHIN_S, trust_env=False) as client:
        clients = [Follower(client, uuid4().hex) for _ in range(STREAMS)]

        async def read_all() -> None:
            async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
                for each in clients:
                    group.create_task(each.read())

        reading = asyncio.create_task(read_all())
        try:
            while not all(len(each.tokens) >= 5 for each in clients) and not reading.done():
                await asyncio.sleep(0.02)
            yield clients, reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})


def assert_whole(clients: Sequence[Follower]) -> None:
    """Fail unless each has read its answer, each token once, and one end."""
    assert {"".join(each.tokens) for each in clients} == {pace_text(TOKENS, SIZE)}
    assert {tuple(each.ends) for each in clients} == {("done",)}


def start(processes: Processes, core: str, port: int) -> Running:
    """Start an edge of two workers, and wait until both serve."""
    settings = {"TOKENWIRE_DRAIN_S": "2", "TOKENWIRE_LOG_LEVEL": "info", **PATIENT}
    command = [*TOKENWIRE, "edge", "--core", core, "--port", str(port), "--workers", "2"]
    edge = processes.start("edge", command, settings)
    edge.wait_ready(lambda: len(READY.findall(edge.stderr)) == 2)
    return edge


def workers(edge: Running) -> dict[str, int]:
    """Return the process ids of the workers, by their number."""
    return {number: int(pid) for number, pid in READY.findall(edge.stderr)}


async def streams(edge: Running) -> list[int]:
    """Return how many streams each worker has, as each says itself."""
    async with httpx.AsyncClient(trust_env=False) as client:
        pages = [(await client.get(url)).text for url in METRICS.findall(edge.stderr)]
    return [
        int(float(re.findall(r"^tokenwire_streams_active(?:\{[^}]*\})? (\S+)", page, re.MULTILINE)[0]))
        for page in pages
    ]


async def test_a_worker_that_is_killed_loses_nothing_and_is_started_again(processes: Processes) -> None:
    """Both have their share of 40 streams; those of the dead one go on. The end of all loses none either."""
    core, _ = processes.core(agents=(), settings={"TOKENWIRE_AGENT": "pace"})
    port = free_port()
    edge = start(processes, core, port)
    url = f"http://127.0.0.1:{port}"
    async with followers(url) as (clients, reading):
        shares = await streams(edge)
        assert sum(shares) == STREAMS
        assert min(shares) >= 5, "40 connections fall on two sockets at random: fewer than 5 is one in 10,000"
        killed = workers(edge)["1"]
        os.kill(killed, signal.SIGKILL)
        await reading
    assert_whole(clients)
    assert sum(each.connections > 1 for each in clients) == shares[0]
    assert f"edge worker 1 (pid {killed}) was killed by SIGKILL: it is started again at once" in edge.stderr
    wait_until(lambda: workers(edge)["1"] != killed, "another one serves")

    async with followers(url) as (clients, reading):
        pids = descendants(edge.pid)
        edge.send(signal.SIGHUP)
        assert await asyncio.to_thread(edge.wait) == 0
        assert not any(map(is_alive, pids))
        start(processes, core, port)
        await reading
    assert_whole(clients)
    assert min(each.connections for each in clients) >= 2
    assert "killed" not in edge.stderr.rpartition("ready on")[2]


def test_a_page_reports_its_stream_to_any_worker(processes: Processes) -> None:
    """Each counts once, at the worker that had the stream; a second one is known, wherever it comes."""
    core, _ = processes.core(agents=(), settings={"TOKENWIRE_AGENT": "pace"})
    port = free_port()
    edge = start(processes, core, port)
    answers: Counter[int] = Counter()
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=limits, trust_env=False) as client:
        for number in range(8):
            body = {"message": '{"tokens": 2}', "sessionId": f"t{number}", "agent": "pace"}
            answer = client.post("/api/chat?timing=1", json=body)
            received = [
                event.get("timestamp") for event in map(json.loads, re.findall(r"data: (.*)", answer.text))
            ]
            report = {
                "token": answer.headers["timing-token"],
                "sentMs": received[-1] + 1,
                "parts": [{"first": 1, "receivedMs": received}],
            }
            path = f"/api/runs/{answer.headers['run-id']}/timing"
            answers.update(client.post(path, json=report).status_code for _ in range(4))
    assert answers == {204: 8, 409: 24}
    counted = 0.0
    for url in METRICS.findall(edge.stderr):
        page = httpx.get(url, trust_env=False).text
        found = re.findall(
            r'^tokenwire_stage_duration_seconds_count\{[^}]*stage="browser"[^}]*\} (\S+)', page, re.MULTILINE
        )
        counted += sum(map(float, found))
    assert counted == 8 * len(received)


JWT = {"TOKENWIRE_AUTH": "jwt", "TOKENWIRE_JWT_ISSUER": "i", "TOKENWIRE_JWT_AUDIENCE": "a"}
NO_FILE = {**JWT, "TOKENWIRE_JWT_KEYS_FILE": "/nowhere", "TOKENWIRE_SHARED_OWNER": "1"}


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({}, 1, "can't listen on 127.0.0.1:{port}: Address already in use"),
        (
            {**JWT, "TOKENWIRE_JWT_KEYS_FILE": "/nowhere", "TOKENWIRE_SHARED_OWNER": "1"},
            2,
            "/nowhere: No such file",
        ),
    ],
    ids=["port", "file"],
)
def test_what_keeps_all_workers_from_starting_is_told_once(
    processes: Processes, settings: dict[str, str], status: int, said: str
) -> None:
    """And ends the edge with the status of an edge of one process; also where the other shares its port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1] if not settings else free_port()
        command = [*TOKENWIRE, "edge", "--core", "127.0.0.1:1", "--port", str(port), "--workers", "2"]
        edge = processes.start("edge", command, settings)
        assert edge.wait() == status
    assert edge.stderr.count(said.format(port=port)) == 1
    assert "Traceback" not in edge.stderr


def test_workers_end_when_their_supervisor_is_killed(processes: Processes) -> None:
    """Not even kill -9 leaves one behind, and the port is free again."""
    port = free_port()
    edge = start(processes, "127.0.0.1:1", port)
    pids = descendants(edge.pid)
    assert len(pids) == 2
    folder = json.loads(Path(f"/proc/{pids[0]}/cmdline").read_text().split("\0")[-2])["folder"]
    assert len([*Path(folder).iterdir()]) == 2
    edge.send(signal.SIGKILL)
    edge.wait()
    wait_until(lambda: not any(map(is_alive, pids)), "all have ended", within_s=20)
    socket.create_server(("127.0.0.1", port)).close()
    assert not Path(folder).exists()
