"""The source document's use cases in Chromium: every event type, produced by a real agent, on the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import system
from tests.support.browser import open_page, running_chromium, shoot
from tests.support.processes import Processes, Stack

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("portfolio page")]

PATIENCE_MS = 30_000
SLOW_LINE = {"offline": False, "latency": 20, "downloadThroughput": 20_000, "uploadThroughput": -1}
"""Bytes a second."""

RECORD = """() => {
    window.progress = []; window.lengths = [];
    const note = (list, value) => { if (list.at(-1) !== value) list.push(value); };
    new MutationObserver(() => {
        const progress = document.querySelector('[data-testid=progress]');
        if (progress) note(window.progress, progress.textContent);
        const answer = document.querySelector('[data-testid=answer]');
        if (answer) note(window.lengths, answer.textContent.length);
    }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def portfolio(module_processes: Processes) -> Stack:
    return module_processes.up("--agent", "portfolio", agents=())


def ask(browser: Browser, stack: Stack, question: str) -> tuple[Page, list[str]]:
    """Ask `portfolio` and return the page once the answer is complete."""
    page, complaints = open_page(browser, f"{stack.url}/?agent=portfolio")
    # The whole workflow takes some 50 ms, less than a few frames. On a slow line it can be watched.
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW_LINE)
    page.evaluate(RECORD)
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()
    return page, complaints


def test_nav_is_calculated_with_moving_progress_and_sql_in_its_tool_cards(
    browser: Browser, portfolio: Stack
) -> None:
    """Use case 2: progress, tool_start, tool_result, text_delta and done."""
    page, complaints = ask(browser, portfolio, "Calculate NAV for all portfolios")
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    progress: list[str] = page.evaluate("() => window.progress")
    # A busy page draws few of the steps, but moves: it does not show the end alone.
    assert len(progress) >= 2, progress
    assert "100" in progress[-1]
    assert page.get_by_test_id("tool").count() >= 3
    expect(page.get_by_test_id("tool-sql").first).to_contain_text("SELECT")
    expect(page.get_by_test_id("answer")).to_contain_text("Net asset value of 6 portfolios")
    shoot(page, "portfolio-nav")
    assert complaints == []


def test_the_report_streams_section_by_section(browser: Browser, portfolio: Stack) -> None:
    """Use case 3: the sections in their order, growing as they are made."""
    page, complaints = ask(browser, portfolio, "Generate quarterly performance report")
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    answer = page.get_by_test_id("answer").text_content() or ""
    sections = ["Executive Summary", "Performance Analysis", "Risk Metrics", "Conclusion"]
    places = [answer.find(section) for section in sections]
    assert -1 not in places
    assert places == sorted(places)
    lengths: list[int] = page.evaluate("() => window.lengths")
    # A busy page draws few of the steps, but does not show the end alone.
    assert len(lengths) >= 2, "it grew"
    shoot(page, "portfolio-report")
    assert complaints == []


def test_a_portfolio_that_is_not_there_is_an_error_with_words(browser: Browser, portfolio: Stack) -> None:
    """The document's `error` event: what went wrong, fit for the user."""
    page, _ = ask(browser, portfolio, "Calculate NAV for the portfolio Atlantis")
    expect(page.get_by_test_id("error")).to_contain_text(
        "no portfolio called “atlantis”", timeout=PATIENCE_MS
    )
    expect(page.get_by_test_id("error")).to_contain_text("NOT_FOUND")
