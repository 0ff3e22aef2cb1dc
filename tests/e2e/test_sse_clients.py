"""SSE clients of others in Chromium, unmodified, through real cuts: the exact text once, one run, an end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import running_chromium, set_hidden
from tests.support.processes import ROOT, Stack
from tests.support.proxy import Proxy, proxy_to

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.needs("node"),
    pytest.mark.xdist_group("event source"),
    pytest.mark.timeout(180),
]

MODULES = ROOT / "web" / "node_modules"
PATIENCE_MS = 60_000
TOKENS, RATE = 40, 20
MESSAGE = json.dumps({"tokens": TOKENS, "rate": RATE})
"""Two seconds of tokens."""
TEXT = pace_text(TOKENS, 5)
CLIENTS = ("EventSource", "event-source-polyfill", "fetch-event-source")
NEXT_TO_LAST = b"00039"
"""The token before the last one."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture
def relay(stack: Stack) -> Iterator[Proxy]:
    with proxy_to(stack.url.removeprefix("http://")) as running:
        yield running


def serve_stock(route: Route) -> None:
    """Serve a file of a package as it was published. Its imports have no `.js`, which bundlers add."""
    _, _, name = route.request.url.partition("/stock/")
    package, _, file = name.partition("/")
    folders = {
        "scene": ROOT / "tests" / "e2e",
        "polyfill": MODULES / "event-source-polyfill" / "src",
        "fetch-event-source": MODULES / "@microsoft" / "fetch-event-source" / "lib" / "esm",
    }
    path = folders[package] / file
    route.fulfill(path=path if path.suffix else path.with_suffix(".js"), content_type="text/javascript")


def open_clients(browser: Browser, relay: Proxy) -> tuple[Page, list[tuple[str, int]]]:
    """Return a page behind the relay that has the clients, and its answers: growing while it lives."""
    assert MODULES.is_dir(), "run: npm ci --prefix web"
    page = browser.new_page()
    page.route("**/stock/**", serve_stock)
    page.goto(f"http://{relay.address}/health/live")
    page.add_script_tag(url="/stock/polyfill/eventsource.js")
    page.add_script_tag(url="/stock/scene/sse_clients.js", type="module")
    page.wait_for_function("() => window.read !== undefined")
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
    return page, answers


def ask(page: Page, client: str) -> str:
    """Have one of the clients read a new run; return the session's id."""
    body = {"message": MESSAGE, "sessionId": uuid4().hex, "agent": "pace"}
    page.evaluate("([client, body]) => void window.read(client, body)", [client, body])
    return body["sessionId"]


def wait_for_token(page: Page, token: str) -> None:
    page.wait_for_function("token => window.seen.text.includes(token)", arg=token, timeout=PATIENCE_MS)


def assert_whole(page: Page, stack: Stack, session_id: str) -> None:
    """The client has ended by itself, with each event once, and the session has one run."""
    page.wait_for_function("() => window.seen.closed", timeout=PATIENCE_MS)
    seen = page.evaluate("() => window.seen")
    assert (seen["text"], seen["ends"]) == (TEXT, 1)
    assert len(set(seen["ids"])) == len(seen["ids"])
    listed = httpx.get(f"{stack.url}/api/sessions/{session_id}/runs", trust_env=False).json()
    assert len(listed["runs"]) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_that_is_cut_twice_is_read_to_its_end_once(
    browser: Browser, stack: Stack, relay: Proxy, client: str
) -> None:
    """Cut within a frame, twice: what came before is not told again, and the end ends the client."""
    page, answers = open_clients(browser, relay)
    relay.cut_behind(b"00010", NEXT_TO_LAST)
    assert_whole(page, stack, ask(page, client))
    assert relay.cuts == 2
    last = ("POST", 200) if client == "fetch-event-source" else ("GET", 204)
    assert answers[-1] == last
    page.close()


def test_a_question_whose_answers_head_is_lost_is_asked_once(
    browser: Browser, stack: Stack, relay: Proxy
) -> None:
    """The client of `fetch` sends it again with its Idempotency-Key, and gets the run that it has."""
    page, _ = open_clients(browser, relay)
    relay.swallow(b"HTTP/1.1 200")
    assert_whole(page, stack, ask(page, "fetch-event-source"))
    assert relay.cuts == 1
    page.close()


def test_a_tab_that_was_switched_away_asks_no_second_time(
    browser: Browser, stack: Stack, relay: Proxy
) -> None:
    """`fetch-event-source` leaves when it is hidden, and sends its POST again when it is shown."""
    page, answers = open_clients(browser, relay)
    session_id = ask(page, "fetch-event-source")
    wait_for_token(page, "00005")
    set_hidden(page, True)
    left_at = page.evaluate("() => window.seen.text")
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.seen.text") == left_at
    set_hidden(page, False)
    assert_whole(page, stack, session_id)
    assert answers == [("POST", 200), ("POST", 200)]
    page.close()
