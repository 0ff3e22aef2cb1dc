"""The tabs of one Chromium share one stream, by its own locks and channels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import running_chromium
from tests.support.client_package import Tab
from tests.support.processes import Stack

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.needs("node"),
    pytest.mark.xdist_group("page"),
    pytest.mark.timeout(180),
]

PACE = json.dumps({"tokens": 200, "rate": 20})
"""Ten seconds of tokens."""

TEXT = pace_text(200, 5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


def test_a_second_tab_shows_the_same_by_one_stream_and_takes_over(
    browser: Browser, stack: Stack, client_package: Path
) -> None:
    """The tab that asks reads for both; closed, it leaves the reading to the other: the exact text, once."""
    context = browser.new_context()
    first, second = (Tab(context, stack.url, client_package, "tabs") for _ in range(2))
    first.send(PACE)
    second.wait_for_text(50)
    messages = second.page.evaluate("() => window.session.getSnapshot().turns.map(({ message }) => message)")
    assert messages == [PACE]
    assert first.streams == ["POST chat"]
    assert second.streams == []
    first.page.close()
    second.wait_for_status("done")
    assert second.texts == [TEXT]
    assert second.streams == ["GET events"]
    context.close()


def test_stop_in_either_tab_stops_the_run(browser: Browser, stack: Stack, client_package: Path) -> None:
    """The tab that only listens presses Stop: both show the run's own end."""
    context = browser.new_context()
    first, second = (Tab(context, stack.url, client_package, "stop-tabs") for _ in range(2))
    first.send(json.dumps({"tokens": 3_000, "rate": 30}))
    second.wait_for_text(20)
    second.page.evaluate("() => window.session.stop()")
    for tab in (first, second):
        tab.wait_for_status("stopped")
    assert first.texts == second.texts
    context.close()
