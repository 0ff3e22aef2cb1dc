"""A direct consumer that none of our Python touches: examples/node-client, over gRPC."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from tests.support.agents import SCRIPTED_TEXT
from tests.support.processes import ROOT, Processes, Stack, clean_environment, free_port

CLIENT = ROOT / "examples" / "node-client"

pytestmark = pytest.mark.needs("node")


@pytest.fixture
def client(node: str) -> list[str]:
    """The command that runs the client."""
    assert (CLIENT / "node_modules").is_dir(), "run: npm ci --prefix examples/node-client"
    return [node, str(CLIENT / "main.js")]


def run(client: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the client to its end."""
    return subprocess.run(
        [*client, *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the events that --json printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def ask_through_edge(url: str, agent: str) -> list[dict[str, Any]]:
    """Start a run at an edge and return its events, as an SSE reader of other people's making sees them."""
    body = {"message": "List three fruits.", "sessionId": "s1", "agent": agent}
    with (
        httpx.Client(trust_env=False) as http,
        connect_sse(http, "POST", f"{url}/api/chat", json=body) as source,
    ):
        return [json.loads(message.data) | {"id": message.id} for message in source.iter_sse()]


@pytest.mark.parametrize("agent", ["scripted", "refuses", "echo"])
def test_node_and_the_browser_get_the_same_events(
    processes: Processes, stack: Stack, client: list[str], agent: str
) -> None:
    """One run, two doors: each event of the one is in the other, equal in every field, digit and stamp."""
    url, _ = processes.edge(stack.core, settings={"TOKENWIRE_MERGE": "false"})
    by_sse = ask_through_edge(url, agent)
    run_id = by_sse[0]["runId"]
    result = run(client, "--core", stack.core, "--json", "--run", run_id)
    assert lines_of(result) == by_sse
    assert [event["id"] for event in by_sse] == [f"{run_id}.1.{n + 1}" for n in range(len(by_sse))]
    assert result.returncode == (1 if agent == "refuses" else 0), result.stderr


def test_it_prints_the_answer_as_it_comes(stack: Stack, client: list[str]) -> None:
    """The answer on stdout, progress and tools on stderr."""
    result = run(client, "--core", stack.core, "--agent", "scripted", "List three fruits.")
    assert (result.returncode, result.stdout) == (0, f"{SCRIPTED_TEXT}\n"), result.stderr
    assert "[50%] Reading what was found" in result.stderr


def test_it_goes_on_after_an_event(stack: Stack, client: list[str]) -> None:
    """FollowRun with a cursor gives the rest: no gap, no duplicate."""
    whole = lines_of(run(client, "--core", stack.core, "--agent", "echo", "--json", "a b c d"))
    rest = run(client, "--core", stack.core, "--json", "--run", whole[0]["runId"], "--after", whole[2]["id"])
    assert lines_of(rest) == whole[3:]


def test_it_stops_a_run(stack: Stack, client: list[str]) -> None:
    """CancelRun ends the stream in done/cancelled, with the text so far."""
    result = run(client, "--core", stack.core, "--agent", "slow", "--cancel-after", "3", "--json", "x")
    *_, last = lines_of(result)
    assert (last["type"], last["finishReason"]) == ("done", "cancelled")
    assert last["finalMessage"].startswith("Slow 0 1")
    assert result.returncode == 0


def test_its_deadline_is_the_runs(stack: Stack, client: list[str]) -> None:
    """A call whose deadline passes fails with DEADLINE_EXCEEDED, in an event or as the call's status."""
    result = run(client, "--core", stack.core, "--agent", "slow", "--deadline", "3", "x")
    assert result.returncode in {1, 4}
    assert "DEADLINE_EXCEEDED" in result.stderr


def test_it_shows_what_a_refusal_says(stack: Stack, client: list[str]) -> None:
    """google.rpc.Status is read by a library that is not ours: ErrorInfo and BadRequest."""
    unknown = run(client, "--core", stack.core, "--agent", "nobody", "x")
    assert unknown.returncode == 1
    assert "NOT_FOUND: There is no such agent. [AGENT_UNKNOWN]" in unknown.stderr
    assert "  agent: nobody" in unknown.stderr
    invalid = run(client, "--core", stack.core, "--session", "no spaces allowed", "x")
    assert invalid.returncode == 1
    assert "INVALID_ARGUMENT" in invalid.stderr
    assert "  run.session_id: " in invalid.stderr


def test_no_core_is_exit_3(client: list[str]) -> None:
    """In words, without a stack trace."""
    result = run(client, "--core", f"127.0.0.1:{free_port()}", "x")
    assert result.returncode == 3
    assert "UNAVAILABLE" in result.stderr
    assert "    at " not in result.stderr
