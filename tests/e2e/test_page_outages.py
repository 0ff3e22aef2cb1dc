"""The page, in the system's Chromium, where the network, the server or its answer fails."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from agent_core.agents.pace import pace_text
from tests.support import nginx, system
from tests.support.agents import SCRIPTED_TEXT
from tests.support.browser import answer_text, running_chromium
from tests.support.processes import Processes, Stack, free_port, wait_until
from tests.support.proxy import Proxy, proxy_to

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.xdist_group("page outages"),
    pytest.mark.timeout(300),
]

PATIENCE_MS = 60_000

SIZE = 4
"""Characters of a token."""

KEY = "key-of-alice"

STREAMS = 6
"""So many connections to one server Chromium opens over HTTP/1.1."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def outage_stack(module_processes: Processes) -> Stack:
    """Core and edge that nothing here disturbs."""
    return module_processes.up(agents=("slow", "fails_first"))


def ask(page: Page, question: str) -> None:
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()


def ask_for_tokens(page: Page, url: str, tokens: int) -> None:
    """Have an answer of so many tokens begin, three a second."""
    page.goto(f"{url}/?agent=pace")
    ask(page, json.dumps({"tokens": tokens, "size": SIZE, "rate": 3}))
    expect(page.get_by_test_id("answer")).to_contain_text(pace_text(3, SIZE), timeout=PATIENCE_MS)


def expect_whole_answer(page: Page, text: str) -> None:
    """Return when the answer has come to its end; it must be this text, as it came and as it is drawn."""
    page.wait_for_function("() => window.tokenwire.getSnapshot().status === 'done'", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("footer")).to_contain_text("token")
    assert answer_text(page) == text
    assert page.get_by_test_id("answer").text_content() == text


def connection_of(page: Page) -> str:
    """Return what the page knows of its newest answer's connection."""
    connection: str = page.evaluate("() => window.tokenwire.getSnapshot().turns.at(-1).run.connection")
    return connection


def runs_of(page: Page, url: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Return what the server says of the runs of the session that a page shows.

    Args:
        page: Its address names the session.
        url: The edge to ask, past any proxy.
        headers: Those that authenticate.
    """
    (session_id,) = parse_qs(urlsplit(page.url).query)["session"]
    response = httpx.get(f"{url}/api/sessions/{session_id}/runs", headers=headers, trust_env=False)
    assert response.status_code == httpx.codes.OK, response.text
    runs: list[dict[str, Any]] = response.json()["runs"]
    return runs


def events_at_agents(processes: Processes) -> dict[str, list[str]]:
    """Return what happened to the agent of each run, by the run's id."""
    events: dict[str, list[str]] = {}
    for entry in map(json.loads, processes.journal.read_text().splitlines()):
        events.setdefault(entry["run_id"], []).append(entry["event"])
    return events


def test_stop_ends_the_model_with_six_streams_open(
    browser: Browser, outage_stack: Stack, module_processes: Processes
) -> None:
    """Stop takes no seventh connection: the agent is cancelled, and the other five go on."""
    context = browser.new_context()
    pages = [context.new_page() for _ in range(STREAMS)]
    for page in pages:
        page.goto(f"{outage_stack.url}/?agent=slow")
    for page in pages:
        page.bring_to_front()  # One that is not drawn takes seconds to be clicked in.
        ask(page, "go on for ever")
        expect(page.get_by_test_id("answer")).to_contain_text("Slow 0 1", timeout=PATIENCE_MS)
    (stopped,) = runs_of(pages[0], outage_stack.url)
    assert stopped["state"] == "running"
    pages[0].bring_to_front()
    pages[0].get_by_test_id("stop").click()
    expect(pages[0].get_by_test_id("stop")).to_have_count(0, timeout=PATIENCE_MS)
    ended = ["started", "cancelled"]
    wait_until(lambda: events_at_agents(module_processes)[stopped["runId"]] == ended, "it was cancelled")
    (stopped,) = runs_of(pages[0], outage_stack.url)
    assert stopped["terminal"] == {"event": "done", "reason": "cancelled"}
    text = answer_text(pages[0])
    assert text == "Slow" + "".join(f" {number}" for number in range(text.count(" ")))
    others = [run for page in pages[1:] for run in runs_of(page, outage_stack.url)]
    assert [run["state"] for run in others] == ["running"] * (STREAMS - 1)
    for run in others:
        httpx.post(f"{outage_stack.url}/api/runs/{run['runId']}/cancel", trust_env=False)
    context.close()


@pytest.fixture
def relay(outage_stack: Stack) -> Iterator[Proxy]:
    with proxy_to(urlsplit(outage_stack.url).netloc) as relay:
        yield relay


def test_away_for_ten_and_for_fifty_seconds_the_answer_is_whole(
    browser: Browser, outage_stack: Stack, relay: Proxy
) -> None:
    """Both pages go on trying, and have the exact text of their one run when the network is back."""
    with proxy_to(urlsplit(outage_stack.url).netloc) as long_relay:
        page, long_page = browser.new_page(), browser.new_page()
        ask_for_tokens(long_page, f"http://{long_relay.address}", 240)
        ask_for_tokens(page, f"http://{relay.address}", 75)
        relay.go_away()
        long_relay.go_away()
        page.wait_for_timeout(10_000)
        come_back_in_the_middle(page, relay, outage_stack.url)
        long_page.wait_for_timeout(40_000)
        come_back_in_the_middle(long_page, long_relay, outage_stack.url)
        for each, tokens in ((page, 75), (long_page, 240)):
            expect_whole_answer(each, pace_text(tokens, SIZE))
            assert len(runs_of(each, outage_stack.url)) == 1
            each.close()


def come_back_in_the_middle(page: Page, relay: Proxy, url: str) -> None:
    """Give a page the network back while it still tries, and its run goes on."""
    assert connection_of(page) == "reconnecting"
    expect(page.get_by_test_id("connection")).to_contain_text("Reconnecting")
    (run,) = runs_of(page, url)
    assert run["state"] == "running"
    relay.come_back()


def test_a_stalled_connection_is_found_and_taken_up_again(
    browser: Browser, outage_stack: Stack, relay: Proxy
) -> None:
    """Nothing tells the page that its open connection carries no byte: it notices by itself."""
    page = browser.new_page()
    ask_for_tokens(page, f"http://{relay.address}", 150)
    relay.freeze()
    assert connection_of(page) == "connected"
    page.wait_for_function(
        "() => window.tokenwire.getSnapshot().turns.at(-1).run.connection === 'reconnecting'",
        timeout=PATIENCE_MS,
    )
    assert relay.cuts == 0
    (run,) = runs_of(page, outage_stack.url)
    assert run["state"] == "running"
    relay.thaw()
    expect_whole_answer(page, pace_text(150, SIZE))
    assert len(runs_of(page, outage_stack.url)) == 1
    page.close()


def test_a_server_error_is_shown_and_retry_asks_again(
    browser: Browser, outage_stack: Stack, module_processes: Processes
) -> None:
    """The error has a way on, which starts a second run for the same question: its text takes the place."""
    page = browser.new_page()
    page.goto(f"{outage_stack.url}/?agent=fails_first")
    ask(page, "plums?")
    error = page.get_by_test_id("error")
    expect(error).to_contain_text("The fruit is out.", timeout=PATIENCE_MS)
    expect(error).to_contain_text("UNAVAILABLE")
    assert answer_text(page) == "Plums"
    error.get_by_test_id("retry").click()
    expect_whole_answer(page, "Plums are back.")
    expect(error).to_have_count(0)
    expect(page.get_by_test_id("turn-user")).to_have_count(1)
    ids = [run["runId"] for run in runs_of(page, outage_stack.url)]
    events = events_at_agents(module_processes)
    assert sorted(events[run_id] for run_id in ids) == [["started", "failed"], ["started", "finished"]]
    page.close()


def test_a_wrong_key_is_asked_for_again_and_the_right_one_goes_on(
    browser: Browser, processes: Processes
) -> None:
    """The question that was refused twice is answered once, by one run."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = {"TOKENWIRE_AUTH": "keys", "TOKENWIRE_API_KEYS": f"alice sha256:{digest}"}
    locked = processes.up(agents=("scripted",), settings=keys)
    page = browser.new_page()
    page.goto(f"{locked.url}/?agent=scripted")
    ask(page, "fruit?")
    enter_key(page, "key-of-nobody")
    expect(page.get_by_role("alert")).to_contain_text("did not accept this key", timeout=PATIENCE_MS)
    enter_key(page, KEY)
    expect_whole_answer(page, SCRIPTED_TEXT)
    expect(page.get_by_test_id("api-key")).to_have_count(0)
    expect(page.get_by_test_id("turn-user")).to_have_count(1)
    assert len(runs_of(page, locked.url, {"Authorization": f"Bearer {KEY}"})) == 1
    page.close()


def enter_key(page: Page, key: str) -> None:
    page.get_by_test_id("api-key").fill(key, timeout=PATIENCE_MS)
    page.get_by_test_id("api-key-use").click()


@pytest.mark.needs("nginx")
def test_behind_nginx_a_killed_edge_costs_no_token(
    browser: Browser, processes: Processes, tmp_path: Path
) -> None:
    """The page that lost its edge goes on at the other one, with the run that it has."""
    core, _ = processes.core(agents=("slow",))
    port, other_port = free_port(), free_port()
    _, edge = processes.edge(core, port)
    url = f"http://127.0.0.1:{nginx.start(processes, tmp_path / 'nginx', (port, other_port))}"
    page = browser.new_page()
    ask_for_tokens(page, url, 120)
    other, _ = processes.edge(core, other_port)
    (run,) = runs_of(page, other)
    assert run["state"] == "running"
    edge.send(signal.SIGKILL)
    assert edge.wait() == -signal.SIGKILL
    expect_whole_answer(page, pace_text(120, SIZE))
    assert len(runs_of(page, other)) == 1
    page.close()
