"""The page's latency panel, in the system's Chromium, against real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support import system
from tests.support.browser import open_page, running_chromium, shoot
from tests.support.processes import Processes, Stack

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("page sessions")]

PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def pace(shared_processes: Processes) -> Stack:
    return shared_processes.up(agents=(), settings={"TOKENWIRE_AGENT": "pace"})


def test_the_panel_measures_an_answer_and_reports_it_when_asked(browser: Browser, pace: Stack) -> None:
    """Each token has its hop, a pause of the model is its stall, and the edge takes the report."""
    page, complaints = open_page(browser, pace.url)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_test_id("latency").click()
    expect(page.get_by_test_id("latency-panel").locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_test_id("latency-report").check()
    page.get_by_test_id("question").fill(json.dumps({"tokens": 3, "rate": 2}))
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("latency-reported")).to_have_text(
        "1 stream was reported.", timeout=PATIENCE_MS
    )
    expect(page.get_by_test_id("latency-facts")).to_contain_text("Tokens3")
    expect(page.get_by_test_id("latency-hops")).to_contain_text("core to edge")
    # Two tokens a second are 500 ms apart: stalls of the model, both.
    expect(page.get_by_test_id("latency-stalls")).to_contain_text("model")
    shoot(page, "latency")
    assert any(url.endswith("/api/chat?timing=1") for url in requests)
    assert [url for url in requests if url.endswith("/timing")] != []
    assert complaints == []


def test_a_chat_without_the_panel_loads_none_of_it_and_asks_for_no_stamps(
    browser: Browser, pace: Stack
) -> None:
    """What the panel draws with comes when it is opened."""
    page, complaints = open_page(browser, pace.url)
    page.get_by_test_id("question").fill(json.dumps({"tokens": 3, "rate": 50}))
    with page.expect_request("**/api/chat*") as asked:
        page.get_by_test_id("send").click()
    assert "timing" not in asked.value.url
    expect(page.get_by_test_id("footer")).to_be_visible(timeout=PATIENCE_MS)
    loaded = page.evaluate("() => performance.getEntriesByType('resource').map(({name}) => name)")
    assert [name for name in loaded if "latency" in name.lower()] == []
    page.get_by_test_id("latency").click()
    expect(page.get_by_test_id("latency-panel").locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
    assert complaints == []
