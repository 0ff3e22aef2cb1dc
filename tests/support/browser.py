"""The system's Chromium, headless, that speaks to nobody but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"
"""Screenshots, to be looked at by a person."""


_SET_HIDDEN = """hidden => {
    Object.defineProperty(document, 'hidden', {configurable: true, value: hidden});
    const visibilityState = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'visibilityState', {configurable: true, value: visibilityState});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


EXPECT_MS = 30_000
"""How long an `expect` waits by default: Playwright's 5 s are too short beside other tests on two CPUs."""


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    """Run the browser.

    Args:
        path: The system's Chromium: no test downloads one of its own.
    """
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, url: str, *, script: str = "") -> tuple[Page, list[str]]:
    """Return a page and what it complained of: errors and console errors, growing while it lives.

    Args:
        browser: It makes a context for the page alone: no storage is shared.
        url: What is opened.
        script: Run before the page's own.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    if script:
        page.add_init_script(script)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.goto(url)
    return page, complaints


def answer_text(page: Page) -> str:
    """Return the newest answer's exact text: the page shows its Markdown drawn, and keeps it as it came."""
    text: str = page.evaluate(
        "() => window.tokenwire.getSnapshot().turns.at(-1)?.run.segments.join('') ?? ''"
    )
    return text


def set_hidden(page: Page, hidden: bool) -> None:
    """Tell a page that its tab was switched away, or is shown again: headless, each tab counts as shown."""
    page.evaluate(_SET_HIDDEN, hidden)


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")
