"""AG-UI's own client package, unmodified, before the edge: alone, and with the example's resuming agent."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.support import system
from tests.support.agents import SCRIPTED_TEXT
from tests.support.processes import ROOT, Stack
from tests.support.proxy import proxy_to

pytestmark = [pytest.mark.needs("node"), pytest.mark.timeout(120)]

EXAMPLE = ROOT / "examples" / "ag-ui"


def read(**asked: Any) -> dict[str, Any]:
    """Return what the client has read: see ag_ui_client.mjs."""
    assert (EXAMPLE / "node_modules").exists(), "run: make examples/ag-ui/node_modules/.installed"
    script = ROOT / "tests" / "e2e" / "ag_ui_client.mjs"
    command = [system.find("node") or "node", str(script), str(EXAMPLE)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def without_run(messages: list[dict[str, Any]], run: str) -> list[dict[str, Any]]:
    """Return messages whose ids do not name their run."""
    told: list[dict[str, Any]] = json.loads(json.dumps(messages).replace(run, "RUN"))
    return told


def test_their_client_reads_an_answer_through_cuts_and_joins_a_run(stack: Stack) -> None:
    """In a frame or between two: the events of an uncut answer, each once, and the same messages."""
    cuts = [*range(700, 3200, 200)]
    with proxy_to(stack.url, cuts_by_header=True) as proxy:
        told = read(url=f"{proxy.url}/api/ag-ui", agent="scripted", question="fruit?", cuts=cuts)
        assert proxy.cuts == len(cuts)
    plain = told["plain"]
    assert plain["events"][0] == "RUN_STARTED"
    assert plain["events"][-1] == "RUN_FINISHED"
    assert plain["messages"][-1]["content"] == SCRIPTED_TEXT
    roles = ["reasoning", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [message["role"] for message in plain["messages"]] == roles
    first = told["trials"][0]
    for cut, trial in zip(cuts, told["trials"], strict=True):
        assert trial["requests"] == ["POST", "GET"], cut
        assert trial["events"] == plain["events"], cut
        assert without_run(trial["messages"], trial["run"]) == without_run(first["messages"], first["run"]), (
            cut
        )
    joined = told["joined"]
    assert joined["events"] == plain["events"]
    assert joined["messages"] == first["messages"]
