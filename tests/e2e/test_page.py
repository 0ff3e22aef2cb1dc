"""The page, in the system's Chromium, against real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import system
from tests.support.browser import answer_text, open_page, running_chromium, shoot
from tests.support.processes import Processes, Stack

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("page")]

PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def model(module_processes: Processes) -> Stack:
    """Core and edge with the built-in agents: the embedded model answers."""
    return module_processes.up(agents=())


def ask(page: Page, question: str) -> None:
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()


def test_a_question_is_answered_token_by_token_by_the_model(browser: Browser, model: Stack) -> None:
    """First light: the answer grows in many steps, and ends as the model's whole text."""
    page, complaints = open_page(browser, model.url)
    page.evaluate(
        """() => {
            window.lengths = [];
            window.drawn = new Set();
            new MutationObserver(() => {
                const answer = document.querySelector('[data-testid=answer]');
                if (answer) window.drawn.add(answer.textContent);
                const [turn] = window.tokenwire.getSnapshot().turns;
                if (turn) window.lengths.push(turn.run.segments.join('').length);
            }).observe(document.body, {subtree: true, childList: true, characterData: true});
        }"""
    )
    ask(page, "List five fruits.")
    expect(page.get_by_test_id("footer")).to_contain_text("token", timeout=PATIENCE_MS)
    answer = answer_text(page)
    lengths: list[int] = page.evaluate("() => window.lengths")
    drawn: int = page.evaluate("() => window.drawn.size")
    shoot(page, "answer")
    assert any(fruit in answer.lower() for fruit in ("apple", "banana", "orange", "grape", "pear", "mango"))
    # A busy machine draws seldom: it has to be more than nothing and then all.
    assert len(set(lengths)) >= 3, "the text came in pieces"
    assert drawn >= 2, "and was drawn in pieces"
    assert lengths == sorted(lengths)
    assert complaints == []


def test_progress_tools_and_text_are_shown(browser: Browser, stack: Stack) -> None:
    """What an agent does besides talking is on the page."""
    page, complaints = open_page(browser, stack.url)
    ask(page, "fruit?")
    expect(page.get_by_test_id("answer")).to_have_text("Apples, pears and plums.", timeout=PATIENCE_MS)
    tools = page.get_by_test_id("tool")
    expect(tools).to_have_count(2)
    expect(tools.first).to_contain_text("search")
    expect(tools.nth(1)).to_contain_text("price")
    shoot(page, "tools")
    assert complaints == []


def test_stop_stops_and_keeps_the_text(browser: Browser, stack: Stack, shared_processes: Processes) -> None:
    """The agent's task ends, the page says so, and the next question can be asked."""
    page, complaints = open_page(browser, f"{stack.url}/?agent=slow")
    ask(page, "go on for ever")
    expect(page.get_by_test_id("answer")).to_contain_text("Slow 0 1", timeout=PATIENCE_MS)
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("stop")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.get_by_test_id("turn-assistant")).to_contain_text("topped")
    expect(page.get_by_test_id("answer")).to_contain_text("Slow 0 1")
    expect(page.get_by_test_id("send")).to_be_visible()
    shoot(page, "stopped")
    ends = [json.loads(line) for line in shared_processes.journal.read_text().splitlines()]
    assert [entry["event"] for entry in ends if entry["agent"] == "slow"][-1] == "cancelled"
    assert complaints == []


def test_an_error_is_told_and_can_be_tried_again(browser: Browser, stack: Stack) -> None:
    """The user sees words and a code, and a way on when there is one."""
    page, _ = open_page(browser, f"{stack.url}/?agent=refuses")
    ask(page, "fruit?")
    expect(page.get_by_test_id("error")).to_contain_text("Too many fruits.", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("error")).to_contain_text("RESOURCE_EXHAUSTED")
    expect(page.get_by_test_id("retry")).to_be_visible()
    shoot(page, "error")


def test_a_plain_eventsource_reads_a_run_and_stops_at_its_end(browser: Browser, stack: Stack) -> None:
    """It sees each event with its id, is told 204 when it comes back, and stays closed."""
    started = httpx.post(
        f"{stack.url}/api/chat",
        json={"message": "hi", "sessionId": "s", "agent": "scripted"},
        headers={"accept": "application/json"},
        trust_env=False,
    ).json()
    page, _ = open_page(browser, stack.url)
    seen: dict[str, Any] = page.evaluate(
        """url => new Promise(resolve => {
            const source = new EventSource(url), events = [], controls = [];
            source.onmessage = event => events.push({id: event.lastEventId, data: JSON.parse(event.data)});
            source.addEventListener('caught_up', event => controls.push(JSON.parse(event.data)));
            source.onerror = () => {
                if (source.readyState === EventSource.CLOSED) resolve({events, controls});
            };
        })""",
        started["eventsUrl"],
    )
    types = [event["data"]["type"] for event in seen["events"]]
    assert types[0] == "run_started"
    assert types[-1] == "done"
    assert types.count("done") + types.count("error") == 1
    assert seen["events"][0]["id"] == f"{started['runId']}.1.1"
    text = "".join(e["data"]["content"] for e in seen["events"] if e["data"]["type"] == "text_delta")
    assert text == "Apples, pears and plums."
