"""The page, in the system's Chromium, while what serves it is restarted."""

from __future__ import annotations

import json
import signal

import pytest
from playwright.sync_api import expect

from agent_core.agents.pace import pace_text
from tests.support.browser import answer_text, open_page, running_chromium, shoot
from tests.support.processes import TOKENWIRE, Processes
from tests.support.redis_server import RedisServer

PATIENCE_MS = 90_000
TOKENS, SIZE, RATE = 180, 4, 6
"""Thirty seconds: a busy machine takes eleven to start the second edge. The run must not end before that: the
cores go with it."""


@pytest.mark.needs("chromium", "redis")
def test_an_answer_survives_the_restart_of_its_edge_and_of_its_core(
    processes: Processes, redis_server: RedisServer, chromium: str
) -> None:
    """Whoever watches sees the whole answer, each token once, without doing anything."""
    shared = {"TOKENWIRE_STORE": redis_server.url, "TOKENWIRE_DRAIN_S": "90"}
    shared["TOKENWIRE_AGENT"] = "pace"
    cores = [processes.core(agents=(), settings=shared) for _ in range(2)]
    addresses = ",".join(address for address, _ in cores)
    reuse = {"TOKENWIRE_REUSE_PORT": "true"}
    url, edge = processes.edge(addresses, settings=reuse)
    with running_chromium(chromium) as browser:
        page, complaints = open_page(browser, url)
        page.get_by_test_id("question").fill(json.dumps({"tokens": TOKENS, "size": SIZE, "rate": RATE}))
        page.get_by_test_id("send").click()
        answer = page.get_by_test_id("answer")
        expect(answer).to_contain_text("00010002", timeout=PATIENCE_MS)
        for _, core in cores:
            core.send(signal.SIGTERM)  # Both: the one that runs the agent lets it come to its end.
        command = [*TOKENWIRE, "edge", "--core", addresses, "--port", url.rsplit(":", 1)[1]]
        other = processes.start("edge", command, reuse)
        other.wait_ready(lambda: "edge ready" in other.stderr)
        edge.send(signal.SIGTERM)
        expect(page.get_by_test_id("footer")).to_contain_text("token", timeout=PATIENCE_MS)
        shoot(page, "restarted")
        assert answer_text(page).strip() == pace_text(TOKENS, SIZE)
        assert (answer.text_content() or "").strip() == pace_text(TOKENS, SIZE)
        assert complaints == []
    assert [process.wait() for process in (edge, *(core for _, core in cores))] == [0, 0, 0]
