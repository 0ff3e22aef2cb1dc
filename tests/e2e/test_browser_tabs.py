"""The tabs of one Chromium share one stream, by its own locks and channels."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import running_chromium
from tests.support.processes import ROOT, Stack

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.needs("node"),
    pytest.mark.xdist_group("page"),
    pytest.mark.timeout(180),
]

PATIENCE_MS = 60_000

PACE = json.dumps({"tokens": 200, "rate": 20})
"""Ten seconds of tokens."""

TEXT = pace_text(200, 5)

OPEN = """async (sessionId) => {
    const { createClient } = await import("/package/index.js");
    const { createSession } = await import("/package/session.js");
    window.session = createSession(createClient(), { sessionId, agent: "pace" });
    await window.session.load();
}"""

SEND = "(message) => void window.session.send(message)"

TEXTS = "() => window.session.getSnapshot().turns.map(({ run }) => run.segments.join(''))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client package, built as it is published, its dependency in it."""
    folder = tmp_path_factory.mktemp("package")
    tsdown = ROOT / "web" / "node_modules" / ".bin" / "tsdown"
    entries = ["src/index.ts", "src/session.ts"]
    command = [str(tsdown), *entries, "--no-config", "--platform", "neutral", "--out-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT / "web" / "packages" / "client", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def open_tab(context: BrowserContext, url: str, package: Path, session_id: str) -> tuple[Page, list[str]]:
    """Return a tab that shows a session, and what it asks the server for, growing while it lives."""
    page = context.new_page()
    page.route(
        "**/package/*.js", lambda route: route.fulfill(path=package / route.request.url.split("/")[-1])
    )
    page.goto(url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url.split('/')[-1]}"))
    page.evaluate(OPEN, session_id)
    return page, asked


def streams(asked: list[str]) -> list[str]:
    return [request for request in asked if request.endswith(("chat", "events"))]


def wait_for_text(page: Page, length: int) -> None:
    """Return when the newest answer has at least so many characters."""
    expression = f"() => (({TEXTS})().at(-1) ?? '').length >= {length}"
    page.wait_for_function(expression, timeout=PATIENCE_MS)


def test_a_second_tab_shows_the_same_by_one_stream_and_takes_over(
    browser: Browser, stack: Stack, package: Path
) -> None:
    """The tab that asks reads for both; closed, it leaves the reading to the other: the exact text, once."""
    context = browser.new_context()
    first, asked_first = open_tab(context, stack.url, package, "tabs")
    second, asked_second = open_tab(context, stack.url, package, "tabs")
    first.evaluate(SEND, PACE)
    wait_for_text(second, 50)
    messages = second.evaluate("() => window.session.getSnapshot().turns.map(({ message }) => message)")
    assert messages == [PACE]
    assert streams(asked_first) == ["POST chat"]
    assert streams(asked_second) == []
    first.close()
    second.wait_for_function("() => window.session.getSnapshot().status === 'done'", timeout=PATIENCE_MS)
    assert second.evaluate(TEXTS) == [TEXT]
    assert streams(asked_second) == ["GET events"]
    context.close()


def test_stop_in_either_tab_stops_the_run(browser: Browser, stack: Stack, package: Path) -> None:
    """The tab that only listens presses Stop: both show the run's own end."""
    context = browser.new_context()
    first, _ = open_tab(context, stack.url, package, "stop-tabs")
    second, _ = open_tab(context, stack.url, package, "stop-tabs")
    first.evaluate(
        "(message) => void window.session.send(message)", json.dumps({"tokens": 3_000, "rate": 30})
    )
    wait_for_text(second, 20)
    second.evaluate("() => window.session.stop()")
    for page in (first, second):
        page.wait_for_function("() => window.session.getSnapshot().status === 'stopped'", timeout=PATIENCE_MS)
    assert first.evaluate(TEXTS) == second.evaluate(TEXTS)
    context.close()
