"""`tokenwire trace` on what real processes have written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import ROOT, TOKENWIRE, Processes, clean_environment
from tokenwire.latency.stages import HOPS

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


def chat(url: str, tokens: int, rate: int) -> dict[str, Any]:
    """Return the body of a question to the agent that yields tokens at a pace."""
    message = json.dumps({"tokens": tokens, "rate": rate})
    return {
        "url": f"{url}/api/chat",
        "json": {"message": message, "sessionId": "s", "agent": "pace"},
        "timeout": 30,
    }


def only_stream(content: str) -> dict[str, Any]:
    (stream,) = json.loads(content)["streams"]
    assert isinstance(stream, dict)
    return stream


def test_every_token_of_a_real_stream_is_shown(processes: Processes, tmp_path: Path) -> None:
    """From the agent to the socket, by the run's id, all events; no stage is before the one before it."""
    file = tmp_path / "spans.jsonl"
    stack = processes.up("--agent", "pace", agents=(), settings={"TOKENWIRE_TRACE_FILE": str(file)})
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
        assert list(row["us"].values()) == sorted(row["us"].values())
    for stage in FIVE:
        assert [row["us"][stage] for row in rows] == sorted(row["us"][stage] for row in rows)
    assert (stream["root"]["outcome"], stream["dropped"]) == ("completed", 0)
    text = trace(run_id, file=file)
    assert all(hop in text for hop in HOPS)
    assert f"run    {run_id}" in text
    assert run_id[:12] in trace(file=file)


def test_the_rows_up_to_the_kill_of_a_core_are_shown(processes: Processes, tmp_path: Path) -> None:
    """The edge has them: its stream ended in an error, and its trace tells of each token that was written."""
    file = tmp_path / "spans.jsonl"
    settings = {"TOKENWIRE_TRACE_FILE": str(file)}
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
