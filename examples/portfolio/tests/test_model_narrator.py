"""The portfolio report, worded by a configured model: a scripted endpoint behind a real socket."""

from __future__ import annotations

import asyncio

import pytest

from agent_core.agents import RunRequest
from tests.support.scripted_endpoint import refuses, running_endpoint, says
from tokenwire_portfolio.agent import PortfolioAgent

REPORT = RunRequest("Generate quarterly performance report")
HEADINGS = ["## Executive Summary", "## Performance Analysis", "## Risk Metrics", "## Conclusion"]


async def report(agent: PortfolioAgent) -> str:
    async with asyncio.timeout(60):
        return "".join([event async for event in agent(REPORT) if isinstance(event, str)])


async def test_the_model_words_the_report_and_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sentences are told; one with a figure that was not computed is left out; the tables stay."""
    steps = [says("The quarter went well. ", "It made 123456.78 out of nothing. ", "That is all.")] * 4
    async with running_endpoint(*steps) as endpoint:
        monkeypatch.setenv("TOKENWIRE_MODEL_URL", endpoint.url)
        async with PortfolioAgent() as agent:
            text = await report(agent)
        prompt = endpoint.messages(0)[-1]["content"]
    assert text.count("The quarter went well. That is all.") == 4
    assert "123456" not in text
    assert [text.find(heading) for heading in HEADINGS] == sorted(text.find(h) for h in HEADINGS)
    assert text.count("| --- |") == 2
    assert "Executive Summary" in prompt
    assert "USD 62,054,261.93" in prompt


async def test_without_its_model_the_report_is_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that fails costs the report nothing."""
    async with PortfolioAgent() as agent:
        template = await report(agent)
    async with running_endpoint(refuses(400)) as endpoint:
        monkeypatch.setenv("TOKENWIRE_MODEL_URL", endpoint.url)
        async with PortfolioAgent() as agent:
            assert await report(agent) == template
        monkeypatch.setenv("PORTFOLIO_NARRATES", "false")
        async with PortfolioAgent() as agent:
            assert await report(agent) == template
        assert len(endpoint.asked) == 1
