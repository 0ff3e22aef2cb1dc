"""The AI SDK's own packages, unmodified, versions 5 to 7, before the edge: in Node, and in Chromium."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.conformance.corpus import load_cases
from tests.support import system
from tests.support.agents import SCRIPTED_TEXT
from tests.support.processes import ROOT, Stack
from tests.support.proxy import proxy_to

pytestmark = [pytest.mark.needs("node"), pytest.mark.timeout(120)]

APP = ROOT / "examples" / "ai-sdk"
VERSIONS = ("5", "6", "7")


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
