"""The package `@tokenwire/client`, built as it is published, in pages of a browser."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.support.processes import ROOT

PATIENCE_MS = 60_000

_OPEN = """async ([options, sessionOptions]) => {
    const { createClient } = await import("/package/index.js");
    const { createSession } = await import("/package/session.js");
    if (options.tokens) {
        let token = await window.newToken(false);
        options.headers = async ({ refused }) => {
            if (refused) token = await window.newToken(true);
            return { Authorization: `Bearer ${token}` };
        };
    }
    window.client = createClient(options);
    window.session = createSession(window.client, sessionOptions);
    await window.session.load();
}"""

_TEXTS = "() => window.session.getSnapshot().turns.map(({ run }) => run.segments.join(''))"


def build_package(folder: Path) -> Path:
    """Build the package and what it depends on into a folder of modules; return it."""
    tsdown = ROOT / "web" / "node_modules" / ".bin" / "tsdown"
    assert tsdown.exists(), "run: npm ci --prefix web"
    entries = ["src/index.ts", "src/session.ts"]
    command = [str(tsdown), *entries, "--no-config", "--platform", "neutral", "--out-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT / "web" / "packages" / "client", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Tab:
    """A tab whose page shows one session.

    Args:
        context: The browser's.
        url: A page of the edge: the session asks its origin.
        package: What `build_package` has built.
        session_id: The session.
        tokens: Whether requests carry a token: of `window.newToken`, which the page must have been given.
    """

    def __init__(
        self, context: BrowserContext, url: str, package: Path, session_id: str, *, tokens: bool = False
    ) -> None:
        self.page: Page = context.new_page()
        self.page.route(
            "**/package/*.js", lambda route: route.fulfill(path=package / route.request.url.split("/")[-1])
        )
        self.page.goto(url)
        self.asked: list[str] = []
        """What it asks the server for: `POST chat`. Grows while it lives, as do the next two."""
        self.keys: list[str | None] = []
        """The Idempotency-Key of each question."""
        self.refused: list[int] = []
        """The statuses of what was refused."""
        self.page.on("request", self._note)
        self.page.on("response", lambda answer: self.refused.append(answer.status) if not answer.ok else None)
        self.page.evaluate(_OPEN, [{"tokens": tokens}, {"sessionId": session_id, "agent": "pace"}])

    def _note(self, request: Any) -> None:
        self.asked.append(f"{request.method} {request.url.split('/')[-1]}")
        if self.asked[-1] == "POST chat":
            self.keys.append(request.headers.get("idempotency-key"))

    @property
    def streams(self) -> list[str]:
        """The requests for streams, so far."""
        return [request for request in self.asked if request.endswith(("chat", "events"))]

    @property
    def texts(self) -> list[str]:
        """The answers as they are now."""
        texts: list[str] = self.page.evaluate(_TEXTS)
        return texts

    def send(self, message: str) -> None:
        """Say something."""
        self.page.evaluate("message => void window.session.send(message)", message)

    def wait_for_text(self, length: int) -> None:
        """Return when the newest answer has at least so many characters."""
        expression = f"() => (({_TEXTS})().at(-1) ?? '').length >= {length}"
        self.page.wait_for_function(expression, timeout=PATIENCE_MS)

    def wait_for_status(self, status: str) -> None:
        """Return when the session has that status."""
        expression = "status => window.session.getSnapshot().status === status"
        self.page.wait_for_function(expression, arg=status, timeout=PATIENCE_MS)

    def count_runs(self) -> int:
        """Return how many runs the session has at the server."""
        expression = "async id => (await window.client.listRuns(id)).runs.length"
        session_id = self.page.evaluate("() => window.session.sessionId")
        count: int = self.page.evaluate(expression, session_id)
        return count
