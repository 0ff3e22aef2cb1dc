"""What direct consumers in other languages, examples/go-client and examples/node-client, read and print."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf import json_format

from tests.support.direct_clients import Client, expected, lines_of, run_id_of, told


@pytest.mark.parametrize(
    "message", ["Calculate NAV for all portfolios", "Generate quarterly performance report"]
)
def test_a_portfolio_run_reads_the_same_everywhere(client: Client, message: str) -> None:
    """Live in another language, replayed in Python: equal in every field of every event, in order."""
    result = client.run("--agent", "portfolio", "--json", message)
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = {event.WhichOneof("payload") for event in events}
    assert kinds >= {"run_started", "progress", "tool_start", "tool_result", "text_delta", "done"}


def test_every_kind_of_event_reads_the_same_everywhere(client: Client) -> None:
    """... also reasoning, custom events, failed tools and numbers beyond 2^53."""
    result = client.run("--agent", "scripted", "--json", "List three fruits.")
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)


def test_it_goes_on_after_a_cursor_with_exactly_the_rest(client: Client) -> None:
    """By an event's id: no gap, no duplicate."""
    run_id = run_id_of(lines_of(client.run("--agent", "portfolio", "--json", "List portfolios"))[0])
    events = client.core.read(run_id)
    for after in (1, len(events) // 2, len(events) - 1):
        rest = client.run("--json", "--run", run_id, "--after", f"{run_id}.1.{after}")
        assert rest.returncode == 0, rest.stderr
        assert told(client.language, rest) == expected(client.language, run_id, events[after:])


def test_it_prints_the_answer_and_the_rest_aside(client: Client) -> None:
    """The report on stdout; progress and the queries' SQL on stderr."""
    result = client.run("--agent", "portfolio", "Generate quarterly performance report")
    assert "summary" in result.stdout.lower()
    assert "conclusion" in result.stdout.lower()
    assert "[100%]" in result.stderr
    assert "-> query_database" in result.stderr
    assert "SELECT" in result.stderr


def test_it_cancels_a_run_and_reads_it_to_its_end(client: Client) -> None:
    """CancelRun ends the stream in done/cancelled, with the text so far."""
    result = client.run("--agent", "slow", "--cancel-after", "3", "--json", "x")
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    events = client.core.read(run_id)
    assert told(client.language, result) == expected(client.language, run_id, events)
    last = json_format.MessageToDict(events[-1])["done"]
    assert last["finishReason"] == "FINISH_REASON_CANCELLED"
    assert last["finalMessage"].startswith("Slow 0 1")


def test_a_deadline_ends_the_call_and_the_run(client: Client) -> None:
    """Exit 1 with DEADLINE_EXCEEDED and no stack trace; the run has ended of the same cause."""
    result = client.run("--agent", "slow", "--deadline", "2", "--json", "x")
    assert result.returncode == 1
    assert "DEADLINE_EXCEEDED" in result.stderr + result.stdout
    assert "    at " not in result.stderr
    last = client.core.read(run_id_of(lines_of(result)[0]))[-1]
    assert last.error.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--agent", "nobody", "x"),
            ("NOT_FOUND: There is no such agent. [AGENT_UNKNOWN]", "  agent: nobody", "  known: "),
        ),
        (("",), ("INVALID_ARGUMENT: ", "[INVALID_REQUEST]", "  run.message: must be 1 to 131072 bytes")),
        (("--session", "no spaces", "x"), ("INVALID_ARGUMENT: ", "  run.session_id: must be at most 128")),
        (("--run", "x"), ("INVALID_ARGUMENT: ", "  run_id: must be 30 characters of [0-9a-z]")),
        (("--run", "a" * 30, "--after", "7"), ("DATA_LOSS: The run's events were lost. [RUN_LOG_LOST]",)),
    ],
    ids=["unknown agent", "empty message", "bad session", "bad run id", "another core's run"],
)
def test_it_prints_all_that_a_refusal_says(
    client: Client, arguments: Sequence[str], says: Sequence[str]
) -> None:
    """Code, message, ErrorInfo and BadRequest of google.rpc.Status; exit 1."""
    result = client.run(*arguments)
    assert result.returncode == 1, result.stderr
    for text in says:
        assert text in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--cancel-after", "x", "y"), ("--after", "a.b", "--run", "x"), ("--principal", "a", "x")],
    ids=["no message", "no number", "no cursor", "no key"],
)
def test_wrong_usage_is_exit_2(client: Client, arguments: Sequence[str]) -> None:
    """Before anything is sent, in words."""
    result = client.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "    at " not in result.stderr
