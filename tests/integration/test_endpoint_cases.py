"""What real endpoints have sent, through the real model client: text, end, usage, tool calls, log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_core.agents.endpoint import clock
from agent_core.agents.endpoint.assistant import EndpointAssistant
from tests.support.endpoint_assistant import TOOLS, assistant_with
from tests.support.endpoint_cases import Told, cases, kinds, steps, tell
from tests.support.scripted_endpoint import Endpoint

SETTINGS = {"tools": TOOLS, "retries": 0}
WITHIN_S = 100.0
"""For all cases of a kind: seconds on a machine that has nothing else to do."""


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "END_GRACE_S", 0.3)
    monkeypatch.setattr(clock, "EARLY_GRACE_S", 0.4)


@pytest.mark.parametrize("kind", kinds())
async def test_endpoints_are_understood(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What each meant is told, and nothing else; the log has its own words."""
    wrong: dict[str, list[str]] = {}
    async with assistant_with(within_s=WITHIN_S, **SETTINGS) as (assistant, endpoint):
        for name, case in cases(kind).items():
            caplog.clear()
            if "settings" in case or "asked without" in case["expect"]:  # It needs, or leaves, its own state.
                async with assistant_with(**{**SETTINGS, **case.get("settings", {})}) as (own, its_endpoint):
                    found = [*await _play(case, own, its_endpoint, caplog)]
            else:
                found = [*await _play(case, assistant, endpoint, caplog)]
            if found:
                wrong[name] = found
    assert not wrong, "\n".join(f"{name}: {'; '.join(found)}" for name, found in wrong.items())


async def _play(
    case: dict[str, Any], assistant: EndpointAssistant, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Return what is wrong with what a case's answer is told as."""
    endpoint.script, expect = steps(case), case["expect"]
    endpoint.asked.clear()
    told = await tell(assistant)
    wrong = [*_judge(expect, told), *_judge_requests(expect, endpoint)]
    return wrong + [
        f"{words!r} is not in the log" for words in expect.get("log", []) if words not in caplog.text
    ]


def _judge(expect: dict[str, Any], told: Told) -> Iterator[str]:
    facts: dict[str, Any] = {
        "text": told.text.strip() if expect.get("strip") else told.text,
        "reasoning": told.reasoning,
        "end": told.end,
        "retryable": told.retryable,
        "usage": told.usage,
        "tools": told.tools(),
    }
    expected = {"reasoning": "", "tools": [], **expect}
    for call, wanted in zip(facts["tools"], expected["tools"], strict=False):
        wanted[2] = call[2] if wanted[2] is None else wanted[2]
    for name, fact in facts.items():
        if name in expected and fact != expected[name]:
            yield f"{name} is {fact!r} and not {expected[name]!r}"


def _judge_requests(expect: dict[str, Any], endpoint: Endpoint) -> Iterator[str]:
    if expect.get("asked", len(endpoint.asked)) != len(endpoint.asked):
        yield f"asked {len(endpoint.asked)} times"
    if expect.get("asked without") in endpoint.asked[-1].body:
        yield f"asked with {expect['asked without']}"
    if "sent back" in expect and expect["sent back"] not in json.dumps(endpoint.messages()):
        yield f"{expect['sent back']} is not sent back"
