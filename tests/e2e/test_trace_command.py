"""`tokenwire trace` on what real processes have written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import PATIENT, ROOT, TOKENWIRE, Processes, clean_environment
from tokenwire.latency.stages import HOPS

BEHIND_MS = 60_000
FIVE = ["model", "logged", "send", "recv", "write"]


def trace(*arguments: str, file: Path) -> str:
    """Return what `tokenwire trace` prints; the variable names the file."""
    done = subprocess.run(
        [*TOKENWIRE, "trace", *arguments],
        env=clean_environment({"TOKENWIRE_TRACE_FILE": str(file)}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def page_ms() -> float:
    """Return the time by the clock of a page that is behind."""
    return time.time() * 1_000 - BEHIND_MS


def chat(url: str, tokens: int, rate: int, query: str = "") -> dict[str, Any]:
    """Return the body of a question to the agent that yields tokens at a pace."""
    message = json.dumps({"tokens": tokens, "rate": rate})
    return {
        "url": f"{url}/api/chat{query}",
        "json": {"message": message, "sessionId": "s", "agent": "pace"},
        "timeout": 30,
    }


def is_ascending(stamps: Iterable[int]) -> bool:
    """Return whether none is before the one before it, but for a rounded microsecond."""
    return all(after >= before - 1 for before, after in pairwise(stamps))


def only_stream(content: str) -> dict[str, Any]:
    (stream,) = json.loads(content)["streams"]
    assert isinstance(stream, dict)
    return stream


def test_every_token_of_a_real_stream_is_shown(processes: Processes, tmp_path: Path) -> None:
    """From the agent to the socket, by the run's id, all events; no stage is before the one before it."""
    file = tmp_path / "spans.jsonl"
    stack = processes.up(
        "--agent", "pace", agents=(), settings={"TOKENWIRE_TRACE_FILE": str(file), **PATIENT}
    )
    response = httpx.post(**chat(stack.url, 300, 1_000))
    sequences = [int(number) for number in re.findall(r"^id: .*\.(\d+)$", response.text, re.MULTILINE)]
    assert stack.process.stop() == 0
    run_id = response.headers["Run-Id"]
    stream = only_stream(trace(run_id, "--json", file=file))
    rows = stream["rows"]
    assert [row["sequence"] for row in rows] == list(range(1, sequences[-1] + 1))
    assert len(rows) >= 300
    for row in rows:
        assert list(row["us"]) == FIVE
        assert is_ascending(row["us"].values())
    for stage in FIVE:
        assert is_ascending(row["us"][stage] for row in rows)
    assert (stream["root"]["outcome"], stream["dropped"]) == ("completed", 0)
    text = trace(run_id, file=file)
    assert all(hop in text for hop in HOPS)
    assert f"run    {run_id}" in text
    assert run_id[:12] in trace(file=file)


def test_what_a_page_reports_is_the_last_hop(processes: Processes, tmp_path: Path) -> None:
    """Its clock is a minute behind: its stamps stay, its hop is corrected by what the edge published."""
    file = tmp_path / "spans.jsonl"
    stack = processes.up(settings={"TOKENWIRE_TRACE_FILE": str(file), **PATIENT})
    received: dict[int, float] = {}
    with httpx.stream("POST", **chat(stack.url, 200, 500, "?timing=1")) as response:
        run_id, token = response.headers["Run-Id"], response.headers["Timing-Token"]
        for line in response.iter_lines():
            if line.startswith("id: "):
                received[int(line.rsplit(".", 1)[1])] = page_ms()
    first, *_, last = received
    assert list(received) == list(range(first, last + 1))
    report = {
        "token": token,
        "sentMs": page_ms(),
        "parts": [{"first": first, "receivedMs": [*received.values()]}],
    }
    assert httpx.post(f"{stack.url}/api/runs/{run_id}/timing", json=report).status_code == 204
    assert stack.process.stop() == 0
    stream = only_stream(trace(run_id, "--json", file=file))
    assert [row["sequence"] for row in stream["rows"] if "browser" in row["us"]] == list(received)
    clock, browser = stream["browser_clock"], stream["summary"]["browser"]
    assert clock["method"] == "bounds"
    assert abs(clock["offset_us"] - BEHIND_MS * 1_000) < 1_000_000
    assert browser["count"] == len(received)
    for row in stream["rows"]:
        expected = row["us"]["browser"] + clock["offset_us"] - row["us"]["write"]
        assert abs(row["hop_us"]["browser"] - expected) <= 1
    assert re.search(r"the edge's is (59|60|61)\.\d s ahead of the page's, ± ", trace(run_id, file=file))


def test_the_rows_up_to_the_kill_of_a_core_are_shown(processes: Processes, tmp_path: Path) -> None:
    """The edge has them: its stream ended in an error, and its trace tells of each token that was written."""
    file = tmp_path / "spans.jsonl"
    settings = {"TOKENWIRE_TRACE_FILE": str(file), **PATIENT}
    address, core = processes.core(settings=settings)
    url, edge = processes.edge(address, settings=settings)
    written: list[int] = []
    with httpx.stream("POST", **chat(url, 2_000, 200)) as response:
        run_id = response.headers["Run-Id"]
        for line in response.iter_lines():
            if line.startswith("id: "):
                written.append(int(line.rsplit(".", 1)[1]))
                if len(written) == 150:
                    core.send(signal.SIGKILL)
    assert edge.stop() == 0
    stream = only_stream(trace(run_id, "--json", file=file))
    assert [row["sequence"] for row in stream["rows"]] == list(range(1, written[-1] + 1))
    assert stream["root"]["outcome"] == "error"
