"""The core is killed, on real processes: one error, and service again when it is back."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.support.processes import Processes, edge_is_ready, wait_until
from tests.support.sse_reader import events_of, ids_of

pytestmark = pytest.mark.usefixtures("transport")


def test_a_core_killed_in_mid_stream_ends_it_in_one_error_and_the_edge_serves_again(
    processes: Processes,
) -> None:
    """The client is told within seconds, with a code and `retryable`; the new core needs no new edge."""
    address, core = processes.core()
    port = int(address.rsplit(":", 1)[1])
    url, _ = processes.edge(address)
    with httpx.stream(
        "POST",
        f"{url}/api/chat",
        json={"message": "hi", "sessionId": "s", "agent": "slow"},
        timeout=30,
        trust_env=False,
    ) as response:
        seen, killed = "", False
        for text in response.iter_text():
            seen += text
            if '"content":" 3"' in seen and not killed:
                core.send(signal.SIGKILL)
                killed = True
    events = events_of(seen)
    terminals = [event for event in events if event["type"] in {"done", "error"}]
    assert [(event["code"], event["retryable"]) for event in terminals] == [("UNAVAILABLE", True)]
    assert events[-1] is terminals[0]
    assert len(ids_of(seen)) == len(events) - 1, "an error of the edge's own moves no cursor"

    body = {"message": "a b", "sessionId": "s", "agent": "echo"}
    refused = httpx.post(f"{url}/api/chat", json=body, timeout=30, trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    assert not edge_is_ready(url)

    processes.core(port)
    wait_until(lambda: edge_is_ready(url), "the edge has found the core again")
    answer = httpx.post(f"{url}/api/chat", json=body, timeout=30, trust_env=False)
    assert events_of(answer.text)[-1]["finalMessage"] == "a b "

    run_id = events[0]["runId"]
    lost = httpx.get(f"{url}/api/runs/{run_id}/events", timeout=30, trust_env=False)
    assert (lost.status_code, lost.json()["code"]) == (410, "DATA_LOSS")
