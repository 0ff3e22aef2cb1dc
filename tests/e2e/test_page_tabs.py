"""Two tabs of one browser on one conversation of the page: one stream, and both show all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import answer_text, running_chromium, shoot
from tests.support.processes import Stack

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("page"), pytest.mark.timeout(180)]

PATIENCE_MS = 60_000
TOKENS, RATE = 80, 10
PACE = json.dumps({"tokens": TOKENS, "rate": RATE})
"""Eight seconds of tokens."""
TEXT = pace_text(TOKENS, 5)
STREAM = re.compile(r"/api/(?:chat|runs/(\w+)/events)(?:\?|$)")
SHORT = json.dumps({"tokens": 20, "rate": 20})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


def open_tab(context: BrowserContext, url: str) -> tuple[Page, list[str], list[str]]:
    """Return a tab of the page, the streams that it requests, and its errors: both lists grow.

    A stream is `POST`, or the id of the run that is followed.
    """
    page = context.new_page()
    streams: list[str] = []
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: streams.extend(_streams_of(request.url)))
    page.goto(url)
    return page, streams, errors


def _streams_of(url: str) -> list[str]:
    match = STREAM.search(url)
    return [match[1] or "POST"] if match else []


def ask(page: Page, question: str) -> None:
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()


def wait_for_answers(page: Page, count: int) -> None:
    """Return when so many answers are there, and have ended."""
    page.wait_for_function(
        """count => {
            const { turns, running } = window.tokenwire.getSnapshot();
            return turns.length === count && !running;
        }""",
        arg=count,
        timeout=PATIENCE_MS,
    )


def test_two_tabs_show_one_conversation_by_one_stream(browser: Browser, stack: Stack) -> None:
    """Either tab asks, both show it; the one that reads is closed, and the other goes on: the text once."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    first, first_streams, errors = open_tab(context, f"{stack.url}/?agent=pace")
    ask(first, SHORT)
    wait_for_answers(first, 1)
    second, second_streams, other_errors = open_tab(context, first.url)
    wait_for_answers(second, 1)
    ask(second, PACE)
    expect(first.get_by_test_id("turn-user")).to_have_count(2, timeout=PATIENCE_MS)
    expect(first.get_by_test_id("answer").last).to_contain_text("00010", timeout=PATIENCE_MS)
    expect(second.get_by_test_id("answer").last).to_contain_text("00010", timeout=PATIENCE_MS)
    run_id = first.evaluate("() => window.tokenwire.getSnapshot().turns.at(-1).runId")
    assert first_streams == ["POST"]
    assert run_id not in second_streams
    assert second_streams.count("POST") == 1
    shoot(first, "two-tabs")
    second.close()
    wait_for_answers(first, 2)
    assert answer_text(first) == TEXT
    assert first_streams == ["POST", run_id]
    assert errors + other_errors == []
    session = first.evaluate("() => window.tokenwire.sessionId")
    runs = httpx.get(f"{stack.url}/api/sessions/{session}/runs", trust_env=False).json()["runs"]
    assert len(runs) == 2
    context.close()


def test_two_tabs_that_stay_both_have_the_whole_text(browser: Browser, stack: Stack) -> None:
    """The tab that only listens has the answer to its last character, and asks for no stream."""
    context = browser.new_context()
    address = f"{stack.url}/?agent=pace&session={uuid4()}"
    first, first_streams, errors = open_tab(context, address)
    second, second_streams, other_errors = open_tab(context, address)
    ask(first, SHORT)
    for page in (first, second):
        wait_for_answers(page, 1)
        assert answer_text(page) == pace_text(20, 5)
    assert (first_streams, second_streams) == (["POST"], [])
    assert errors + other_errors == []
    context.close()
