"""The page under axe, in each state that a reader can meet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.support import system
from tests.support.browser import running_chromium, shoot
from tests.support.processes import Stack

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.xdist_group("page accessibility"),
]

PATIENCE_MS = 30_000
WIDE, NARROW = ViewportSize(width=1280, height=800), ViewportSize(width=320, height=640)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(params=["light", "dark", "mobile"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    looks: str = request.param
    # The page's policy forbids foreign scripts, and axe is one.
    context = browser.new_context(
        bypass_csp=True,
        viewport=NARROW if looks == "mobile" else WIDE,
        color_scheme="dark" if looks == "dark" else "light",
    )
    yield context.new_page()
    context.close()


def ask(page: Page, url: str, question: str) -> None:
    page.goto(url)
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()


def expect_no_finding(page: Page, request: pytest.FixtureRequest, part: str = "") -> None:
    """Fail for whatever axe finds, and for a page that is wider than its window."""
    name = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")
    shoot(page, f"axe-{name}{part and '-'}{part}")
    assert AXE.exists(), "run: npm ci --prefix web"
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("() => axe.run(document)")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 10, "axe has looked"
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_an_idle_page_has_no_finding(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """Before the first question: the words of welcome and the input."""
    page.goto(stack.url)
    expect(page.get_by_test_id("question")).to_be_visible()
    expect_no_finding(page, request)


def test_a_page_that_streams_has_no_finding(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """While the answer grows."""
    ask(page, f"{stack.url}/?agent=slow", "go on for ever")
    expect(page.get_by_test_id("answer")).to_contain_text("Slow 0 1", timeout=PATIENCE_MS)
    expect_no_finding(page, request)
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("send")).to_be_visible(timeout=PATIENCE_MS)


def test_open_tools_have_no_finding(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """The group of calls, and one of them, opened."""
    ask(page, stack.url, "fruit?")
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_test_id("tools").locator("> summary").click()
    page.get_by_test_id("tool").first.locator("summary").click()
    expect(page.get_by_test_id("tool").first).to_contain_text("Result")
    expect_no_finding(page, request)


def test_an_error_has_no_finding(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """The card with the way on."""
    ask(page, f"{stack.url}/?agent=refuses", "fruit?")
    expect(page.get_by_test_id("error")).to_be_visible(timeout=PATIENCE_MS)
    expect_no_finding(page, request)


def test_a_lost_connection_has_no_finding(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """The banner says what is wrong, and the bar does not say Ready."""
    page.route("**/api/chat", lambda route: route.abort())
    ask(page, stack.url, "fruit?")
    banner = page.get_by_test_id("connection")
    expect(banner).to_contain_text("Reconnecting", timeout=PATIENCE_MS)
    page.context.set_offline(True)
    expect(banner).to_contain_text("offline", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("status")).to_have_text("Disconnected")
    expect_no_finding(page, request)


def refuse(page: Page, status: int, code: str, **headers: str) -> None:
    """Answer each question as a server that does not take it."""
    body = json.dumps({"code": code, "title": "No.", "status": status, "retryable": status == 503})
    page.route(
        "**/api/chat",
        lambda route: route.fulfill(
            status=status, content_type="application/problem+json", headers=headers, body=body
        ),
    )


def test_a_connection_that_is_given_up_has_no_finding(
    page: Page, stack: Stack, request: pytest.FixtureRequest
) -> None:
    """The banner has the way back, and the bar has all that it can hold."""
    page.add_init_script("sessionStorage.setItem('tokenwire.api-key', 'secret')")
    refuse(page, 503, "UNAVAILABLE", **{"Retry-After": "600"})
    ask(page, f"{stack.url}/?agent=portfolio", "fruit?")
    expect(page.get_by_test_id("status")).to_have_text("Disconnected", timeout=PATIENCE_MS)
    expect(page.get_by_test_id("retry")).to_be_visible()
    expect_no_finding(page, request)


def test_a_page_that_asks_for_a_key_has_no_finding(
    page: Page, stack: Stack, request: pytest.FixtureRequest
) -> None:
    """The form stands in the input's place; at a wrong key it complains."""
    refuse(page, 401, "UNAUTHENTICATED")
    ask(page, stack.url, "fruit?")
    page.get_by_test_id("api-key").fill("wrong", timeout=PATIENCE_MS)
    page.get_by_test_id("api-key-use").click()
    expect(page.get_by_role("alert")).to_contain_text("did not accept", timeout=PATIENCE_MS)
    expect_no_finding(page, request)


def test_the_latency_panel_and_the_list_of_chats_have_no_finding(
    page: Page, stack: Stack, request: pytest.FixtureRequest
) -> None:
    """The panel beside an answer that it has measured; then the list over both."""
    page.goto(f"{stack.url}/?agent=pace")
    page.get_by_test_id("latency").click()
    # The panel counts what comes after its code is loaded.
    expect(page.get_by_test_id("latency-panel").locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_test_id("question").fill(json.dumps({"tokens": 40, "rate": 40}))
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_test_id("latency-facts")).to_contain_text("Tokens40")
    expect_no_finding(page, request)
    page.get_by_test_id("conversations").click()
    expect(page.get_by_test_id("conversation-list")).to_be_visible()
    expect_no_finding(page, request, "list")
