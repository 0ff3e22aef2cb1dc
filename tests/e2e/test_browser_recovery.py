"""What `@tokenwire/client` recovers from in Chromium: cut questions, expired tokens, tabs that are hidden."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import running_chromium, set_hidden
from tests.support.client_package import Tab
from tests.support.issuer import AUDIENCE, ISSUER, Signer
from tests.support.processes import Processes, Stack
from tests.support.proxy import proxy_to

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.needs("node"),
    pytest.mark.xdist_group("page"),
    pytest.mark.timeout(180),
]

PACE = json.dumps({"tokens": 40, "rate": 20})
"""Two seconds of tokens."""

TEXT = pace_text(40, 5)

TOKEN_LIFE_S = 2.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.mark.parametrize("cut", ["before the head", "within the head", "behind the first event", "later"])
def test_a_cut_question_is_answered_once(
    context: BrowserContext, stack: Stack, client_package: Path, cut: str
) -> None:
    """Wherever the answer to the POST breaks: one key, one run, and the exact text."""
    with proxy_to(stack.url.removeprefix("http://")) as relay:
        tab = Tab(context, f"http://{relay.address}/health/live", client_package, uuid4().hex)
        match cut:
            case "before the head":
                relay.swallow(b"HTTP/1.1 200")
            case "within the head":
                relay.cut_behind(b"text/event-stream")
            case "behind the first event":
                relay.cut_behind(b'"run_started"')
            case _:
                relay.cut_behind(b"00010")
        tab.send(PACE)
        tab.wait_for_status("done")
        assert relay.cuts == 1
        assert tab.texts == [TEXT]
        assert tab.count_runs() == 1
        assert len(set(tab.keys)) == 1
        assert tab.keys[0]
        assert tab.refused == []


def test_a_token_that_expires_on_the_way_is_replaced(
    context: BrowserContext, processes: Processes, client_package: Path, tmp_path: Path
) -> None:
    """The stream that is open goes on; cut, it is followed with a new token, after a 401: nothing is lost."""
    signer = Signer()
    keys = tmp_path / "keys.pem"
    keys.write_bytes(signer.pem())
    settings = {
        "TOKENWIRE_AUTH": "jwt",
        "TOKENWIRE_JWT_ISSUER": ISSUER,
        "TOKENWIRE_JWT_AUDIENCE": AUDIENCE,
        "TOKENWIRE_JWT_KEYS_FILE": str(keys),
        "TOKENWIRE_JWT_LEEWAY_S": "0",
    }
    stack = processes.up(settings=settings)
    asked: list[bool] = []
    expires: list[float] = []

    def new_token(refused: bool) -> str:
        asked.append(refused)
        expires.append(time.time() + TOKEN_LIFE_S)
        return signer.token(exp=expires[-1])

    context.expose_function("newToken", new_token)
    with proxy_to(stack.url.removeprefix("http://")) as relay:
        tab = Tab(context, f"http://{relay.address}/health/live", client_package, uuid4().hex, tokens=True)
        message = json.dumps({"tokens": 60, "rate": 10})
        tab.send(message)
        tab.wait_for_text(5)
        tab.page.wait_for_timeout(1_000 * max(0.0, expires[-1] + 1 - time.time()))
        assert tab.texts != [pace_text(60, 5)]
        relay.cut()
        tab.wait_for_status("done")
        assert tab.texts == [pace_text(60, 5)]
    assert asked == [False, True]
    assert tab.refused == [401]
    assert tab.streams == ["POST chat", "GET events", "GET events"]


def test_a_hidden_tab_keeps_its_stream(context: BrowserContext, stack: Stack, client_package: Path) -> None:
    """Switched away and shown again it has asked once, for one stream."""
    tab = Tab(context, f"{stack.url}/health/live", client_package, uuid4().hex)
    tab.send(PACE)
    tab.wait_for_text(20)
    set_hidden(tab.page, True)
    tab.wait_for_text(60)
    set_hidden(tab.page, False)
    tab.wait_for_status("done")
    assert tab.texts == [TEXT]
    assert tab.streams == ["POST chat"]
    assert tab.count_runs() == 1
