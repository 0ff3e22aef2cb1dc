"""What an agent raised is in the core's log with its ids, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from tests.support.processes import ROOT, Processes, clean_environment
from tests.support.sse_reader import events_of

SETTINGS = {"TOKENWIRE_LOG_FORMAT": "json", "OTEL_TRACES_EXPORTER": "console"}


def test_a_failed_agents_traceback_is_logged_with_its_ids_and_told_to_nobody(processes: Processes) -> None:
    """The operator finds the JSON line by the run id or the trace id that the client was given."""
    address, core = processes.core(agents=("raises_after", "echo"), settings=SETTINGS)
    url, edge = processes.edge(address, settings=SETTINGS)
    body = {"message": "what users write", "sessionId": "s", "agent": "raises_after"}
    answer = httpx.post(f"{url}/api/chat", json=body, timeout=30, trust_env=False)

    events = events_of(answer.text)
    started, error = events[0], events[-1]
    assert (error["code"], error["message"]) == ("INTERNAL", "The agent failed.")
    everything = answer.text + repr(answer.headers)
    for inside in ("secret of", "RuntimeError", "Traceback", "agents.py"):
        assert inside not in everything

    lines = [json.loads(line) for line in core.stderr.splitlines()]
    (failed,) = [line for line in lines if "exception" in line]
    assert failed["run_id"] == started["runId"] == answer.headers["run-id"]
    assert failed["trace_id"] == error["traceId"]
    assert failed["span_id"] == started["traceparent"].split("-")[2]
    assert (failed["level"], failed["logger"]) == ("error", "agent_core.runs.failures")
    assert failed["exception"].startswith("Traceback")
    assert "RuntimeError: secret of raises_after" in failed["exception"]

    for line in edge.stderr.splitlines():
        assert json.loads(line)["logger"], "every line of the edge's is JSON too"
    for log in (core.stderr, edge.stderr):
        assert "what users write" not in log


@pytest.mark.parametrize("module", ["agent_core", "edge"])
def test_a_secret_that_is_refused_is_not_quoted(module: str) -> None:
    """A principal key that is too short is named, and its text stays where it was."""
    environment = clean_environment({"TOKENWIRE_PRINCIPAL_KEY": "hunter22"})
    process = subprocess.run(
        [sys.executable, "-m", module],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = process.stdout + process.stderr
    assert process.returncode == 2, said
    assert "principal_key" in said.lower()
    assert "hunter22" not in said
