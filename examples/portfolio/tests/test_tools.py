"""The tool set `portfolio`, at the assistant with a configured model: a scripted endpoint."""

from __future__ import annotations

import json

from agent_core.agents import ToolResult
from tests.support.endpoint_assistant import assistant_with, told
from tests.support.scripted_endpoint import calls, says


async def test_the_queries_are_tools_of_a_model() -> None:
    """It is offered all of them, the database answers, and it is told which portfolios there are."""
    script = (
        calls(("list_portfolios", "{}"), ("nav", '{"portfolio":"Atlantis"}')),
        says("There you are."),
    )
    async with assistant_with(*script, tools="calculator portfolio") as (assistant, endpoint):
        events = await told(assistant)
        assert {tool["function"]["name"] for tool in endpoint.asked[0].body["tools"]} == {
            *("list_portfolios", "holdings", "nav", "performance", "calculate")
        }
    listed, refused = [event for event in events if isinstance(event, ToolResult)]
    portfolios = json.loads(str(listed.result))
    assert len(portfolios) == 6
    assert {"code", "name", "base_currency", "benchmark"} <= set(portfolios[0])
    assert refused.is_error
    assert "Thames Value" in str(refused.result)  # it names those that there are
