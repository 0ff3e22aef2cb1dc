"""The AI SDK's own packages, unmodified, versions 5 to 7, before the edge: in Node, and in Chromium."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from agent_core.agents.pace import pace_text
from tests.conformance.corpus import load_cases
from tests.support import system
from tests.support.agents import SCRIPTED_TEXT
from tests.support.browser import open_page, running_chromium, shoot
from tests.support.processes import ROOT, Processes, Stack, free_port
from tests.support.proxy import Proxy, proxy_to

pytestmark = [pytest.mark.needs("node"), pytest.mark.timeout(120)]

APP = ROOT / "examples" / "ai-sdk"
VERSIONS = ("5", "6", "7")
TOKENS = 80
TEXT = pace_text(TOKENS, 5)


def packages(**asked: Any) -> dict[str, Any]:
    """Return what the packages make of something: see ai_sdk_clients.mjs."""
    assert (APP / "node_modules").exists(), "run: make examples/ai-sdk/node_modules/.installed"
    command = [system.find("node") or "node", str(ROOT / "tests" / "e2e" / "ai_sdk_clients.mjs"), str(APP)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_their_schemas_accept_every_case_and_make_the_same_message_of_it() -> None:
    """Each version reads each chunk, and all of them the parts that the case promises."""
    cases = load_cases("ai_sdk")
    read = packages(schema={case.name: case.frames.decode() for case in cases})["schema"]
    for version in VERSIONS:
        for case in cases:
            told = read[version][case.name]
            assert told.pop("chunks") == case.client, (version, case.name)
            assert told == case.message, (version, case.name)


def test_their_transports_read_answers_and_refusals(stack: Stack) -> None:
    """A chat without an answer is none; one with an answer is replayed; a refusal's words are the error's."""
    told = packages(chat=f"{stack.url}/api/ai-sdk/chat?agent=scripted", question="fruit?")["chat"]
    assert [*told] == [*VERSIONS]
    for version in VERSIONS:
        assert told[version] == {
            "nothing": None,
            "text": SCRIPTED_TEXT,
            "types": ["step-start", "reasoning", "dynamic-tool", "dynamic-tool", "data-chart", "text"],
            "metadata": {"usage": {"inputTokens": 11, "outputTokens": 6, "totalTokens": 17}},
            "resumed": True,
            "refusal": "The last message must be the user's.",
        }


def test_their_workflow_transport_goes_on_behind_any_cut(stack: Stack) -> None:
    """Cut once or twice, in a frame or between two: the chunks of an uncut answer, each once."""
    # The head is 440 bytes, the whole 2,421: see `Proxy.passed`.
    cuts = [[place] for place in range(700, 2400, 110)] + [[900, 700], [1400, 800, 600], [2000, 500]]
    with proxy_to(stack.url, cuts_by_header=True) as proxy:
        url = f"{proxy.url}/api/ai-sdk/chat"
        uncut, *trials = packages(workflow=url, question="fruit?", cuts=[[], *cuts])["workflow"]
        assert proxy.cuts == sum(map(len, cuts))
    assert uncut["requests"] == ["POST"]
    for places, trial in zip(cuts, trials, strict=True):
        assert trial["requests"] == ["POST", *("GET" for _ in places)], places
        start, *rest = trial["chunks"]
        assert start == {"type": "start", "messageId": trial["run"]}, places
        assert rest == uncut["chunks"][1:], places
        assert trial["ended"] == len(trial["chunks"])


def command(name: str, *words: str) -> list[str]:
    """Return a command of a package of the example's."""
    return [system.find("node") or "node", str(APP / "node_modules" / ".bin" / name), *words]


@pytest.fixture(scope="module")
def app(module_processes: Processes, stack: Stack) -> Iterator[tuple[str, Proxy]]:
    """The example's URL, built and served as its README says, and the proxy by which it reaches the edge."""
    for step in (command("tsc"), command("vite", "build")):
        done = subprocess.run(step, cwd=APP, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    port = free_port()
    serve = command("vite", "preview", str(APP), "--port", str(port), "--strictPort")
    process = module_processes.start("vite", serve, {"TOKENWIRE_URL": stack.url})
    process.wait_ready(lambda: answers(port))
    with proxy_to(f"127.0.0.1:{port}") as proxy:
        yield proxy.url, proxy


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success
    except httpx.TransportError:
        return False


def ask(page: Page, question: str) -> None:
    page.get_by_label("Message").fill(question)
    page.get_by_role("button", name="Send").click()


@pytest.mark.needs("chromium")
@pytest.mark.xdist_group("ai-sdk")
def test_use_chat_survives_cuts_and_a_reload_in_a_browser(app: tuple[str, Proxy], chromium: str) -> None:
    """The example's page shows the exact text, once, of one run; its Stop stops that of the next question."""
    url, proxy = app
    with running_chromium(chromium) as browser:
        page, _ = open_page(browser, f"{url}/?agent=pace")
        answer = page.locator("article[data-role=assistant]")
        ask(page, json.dumps({"tokens": TOKENS, "rate": 20}))
        expect(answer).to_contain_text("00002")
        proxy.cut()
        expect(answer).to_contain_text("00020")
        page.reload()
        expect(answer).to_contain_text("00030")
        proxy.cut()
        expect(answer).to_have_text(TEXT)
        expect(page.locator("output")).to_have_text("ready")
        expect(page.locator("article")).to_have_count(2)
        ask(page, json.dumps({"tokens": 3_000, "rate": 20}))
        expect(answer.nth(1)).to_contain_text("00002")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("output")).to_have_text("ready")
        shoot(page, "ai-sdk")
        chat_id = parse_qs(urlsplit(page.url).query)["chat"][0]
        runs = page.evaluate("id => fetch(`/api/sessions/${id}/runs`).then((r) => r.json())", chat_id)["runs"]
        assert [run["terminal"]["reason"] for run in runs] == ["cancelled", "stop"]
        page.close()
