"""The example app of assistant-ui in Chromium: its production build, before a real edge."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import open_page, running_chromium, shoot
from tests.support.processes import ROOT, Processes, Stack, free_port

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.needs("node"),
    pytest.mark.xdist_group("assistant-ui"),
    pytest.mark.timeout(180),
]

APP = ROOT / "examples" / "assistant-ui"
PATIENCE_MS = 30_000
TOKENS = 60
TEXT = pace_text(TOKENS, 5)


def command(name: str, *words: str) -> list[str]:
    """Return a command of a package of the example's."""
    program = APP / "node_modules" / ".bin" / name
    assert program.exists(), "run: make examples/assistant-ui/node_modules/.installed"
    return [system.find("node") or "node", str(program), *words]


@pytest.fixture(scope="module")
def app(module_processes: Processes, stack: Stack) -> str:
    """The app's URL; its types are checked, and it is built, before it is served."""
    for step in (command("tsc"), command("vite", "build")):
        done = subprocess.run(step, cwd=APP, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    port = free_port()
    serve = command("vite", "preview", str(APP), "--port", str(port), "--strictPort")
    process = module_processes.start("vite", serve, {"TOKENWIRE_URL": stack.url})
    process.wait_ready(lambda: answers(port))
    return f"http://127.0.0.1:{port}"


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium(system.find("chromium") or "") as running:
        yield running


def ask(page: Page, question: str) -> None:
    page.get_by_label("Message").fill(question)
    page.get_by_role("button", name="Send").click()


def runs_of(page: Page, stack: Stack) -> list[dict[str, Any]]:
    """Return the runs of the conversation that the address names."""
    (session,) = parse_qs(urlsplit(page.url).query)["session"]
    runs: list[dict[str, Any]] = httpx.get(
        f"{stack.url}/api/sessions/{session}/runs", trust_env=False
    ).json()["runs"]
    return runs


def test_their_components_show_an_answer_through_a_reload(browser: Browser, app: str, stack: Stack) -> None:
    """It grows while it is written, and goes on after a reload in its middle: the exact text, one run."""
    page, complaints = open_page(browser, f"{app}/?agent=pace")
    ask(page, json.dumps({"tokens": TOKENS, "rate": 15}))
    answer = page.get_by_test_id("answer")
    expect(answer).to_contain_text("0000400005", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert answer.inner_text() != TEXT
    page.reload()
    expect(answer).to_have_text(TEXT, timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    shoot(page, "assistant-ui")
    assert len(runs_of(page, stack)) == 1
    assert complaints == []
    page.close()


def test_tools_are_theirs_and_a_second_question_follows(browser: Browser, app: str) -> None:
    """Calls and results stand in tool parts before the text; the next answer comes under the first."""
    page, complaints = open_page(browser, f"{app}/?agent=scripted")
    for number in (1, 2):
        ask(page, "fruit?")
        expect(page.get_by_text("Apples, pears and plums.")).to_have_count(number, timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_test_id("tool")).to_have_count(4)
    page.get_by_test_id("tool").first.click()
    shoot(page, "assistant-ui-tools")
    assert complaints == []
    page.close()


def test_their_stop_is_stop(browser: Browser, app: str, stack: Stack) -> None:
    """The run is cancelled at the server, and the text so far stays."""
    page, complaints = open_page(browser, f"{app}/?agent=pace")
    ask(page, json.dumps({"tokens": 3_000, "rate": 20}))
    expect(page.get_by_test_id("answer")).to_contain_text("000010000200003", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=PATIENCE_MS)
    (run,) = runs_of(page, stack)
    assert run["terminal"] == {"event": "done", "reason": "cancelled"}
    assert page.get_by_test_id("answer").inner_text().startswith("000010000200003")
    assert complaints == []
    page.close()


def test_a_refused_agent_is_told_as_an_error(browser: Browser, app: str) -> None:
    """The failure's words stand where their errors stand."""
    page, _ = open_page(browser, f"{app}/?agent=refuses")
    ask(page, "hi")
    expect(page.get_by_role("alert")).not_to_be_empty(timeout=PATIENCE_MS)
    shoot(page, "assistant-ui-error")
    page.close()
