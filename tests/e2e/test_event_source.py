"""A real `EventSource`, in the system's Chromium, that has nothing but a ticket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.support import system
from tests.support.browser import running_chromium
from tests.support.processes import Processes, free_port, wait_until

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("event source")]

KEY = "tw_a-long-random-key"
AUTHORIZATION = {"authorization": f"Bearer {KEY}"}
SHARED = {"TOKENWIRE_PRINCIPAL_KEY": "p" * 32}
KEYS = {
    **SHARED,
    "TOKENWIRE_AUTH": "keys",
    "TOKENWIRE_API_KEYS": f"alice sha256:{hashlib.sha256(KEY.encode()).hexdigest()}",
    "TOKENWIRE_RETRY_MS": "200",
}
OPEN = """url => {
    window.seen = []; window.opened = 0; window.ids = [];
    window.source = new EventSource(url);
    window.source.onopen = () => { window.opened += 1; };
    window.source.onmessage = event => {
        window.ids.push(event.lastEventId);
        const data = JSON.parse(event.data);
        if (data.type === 'text_delta') window.seen.push(data.content);
        if (data.type === 'done') window.source.close();
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def core(module_processes: Processes) -> str:
    return module_processes.core(settings=SHARED)[0]


def start(url: str, agent: str) -> tuple[str, dict[str, Any]]:
    """Start a run; return its id and a ticket to it."""
    body = {"message": "hi", "sessionId": uuid4().hex, "agent": agent}
    with httpx.Client(base_url=url, headers=AUTHORIZATION, trust_env=False, timeout=20) as client:
        run_id = client.post("/api/chat", json=body, headers={"accept": "application/json"}).json()["runId"]
        ticket: dict[str, Any] = client.post(f"/api/runs/{run_id}/ticket").json()
    return run_id, ticket


def open_source(browser: Browser, url: str, events_url: str) -> Page:
    """Return a page of the edge that follows a run."""
    page = browser.new_page()
    page.goto(f"{url}/health/live")
    page.evaluate(OPEN, events_url)
    return page


def seen(page: Page) -> str:
    text: str = page.evaluate("() => window.seen.join('')")
    return text


def test_one_ticket_lasts_through_the_edges_restart(
    browser: Browser, processes: Processes, core: str
) -> None:
    """It comes back with the URL that it has, to a process that never heard of it, and misses nothing."""
    port = free_port()
    url, edge = processes.edge(core, port, settings=KEYS)
    run_id, ticket = start(url, "slow")
    page = open_source(browser, url, ticket["eventsUrl"])
    wait_until(lambda: " 5" in seen(page), "the stream flows")
    edge.stop()
    processes.edge(core, port, settings=KEYS)
    before = len(seen(page).split())
    wait_until(lambda: len(seen(page).split()) > before + 5, "it flows again")
    words = seen(page).split()
    assert page.evaluate("() => window.opened") >= 2
    assert words == ["Slow", *map(str, range(len(words) - 1))]
    page.close()
    answer = httpx.post(f"{url}/api/runs/{run_id}/cancel", headers=AUTHORIZATION, trust_env=False)
    assert answer.status_code == 200


def test_over_the_limit_it_waits_for_its_turn(browser: Browser, processes: Processes, core: str) -> None:
    """It is put off with an end and a later time, and reads the whole run once there is room."""
    url, _ = processes.edge(core, settings=KEYS | {"TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL": "1"})
    _, blocking = start(url, "slow")
    with httpx.stream("GET", url + blocking["eventsUrl"], trust_env=False, timeout=20) as taken:
        texts = taken.iter_text()
        next(texts)
        _, ticket = start(url, "scripted")
        page = open_source(browser, url, ticket["eventsUrl"])
        wait_until(lambda: page.evaluate("() => window.opened") >= 1, "it was answered")
        assert seen(page) == ""
        assert texts, "one that is forgotten closes its connection"
    wait_until(lambda: "plums." in seen(page), "it had its turn")
    assert page.evaluate("() => window.opened") >= 2
    page = open_source(browser, url, ticket["eventsUrl"] + "x")
    wait_until(lambda: page.evaluate("() => window.source.readyState") == 2, "a bad ticket stops it for good")


def test_workers_of_one_command_take_each_others_tickets(processes: Processes) -> None:
    """Without any key set: what one process makes opens streams at every other."""
    stack = processes.up("--workers", "2")
    _, ticket = start(stack.url, "scripted")
    for _ in range(12):  # a connection each: the kernel spreads them over the processes
        answer = httpx.get(stack.url + ticket["eventsUrl"], trust_env=False, timeout=20)
        assert answer.status_code == 200
        assert "plums." in answer.text
