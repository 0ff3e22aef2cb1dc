"""Queries in sight of the user."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import count

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agent_core.agents import AgentError, JsonValue, ToolResult, ToolStart
from agent_core.agents.tool_span import ToolSpan
from tests.support.spans import use_provider
from tokenwire_portfolio import Database, queries
from tokenwire_portfolio.asking import MAX_ROWS_SHOWN, Asking
from tokenwire_portfolio.plan import Plan, Query

MANY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < :last) SELECT x FROM n"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    use_provider(provider, monkeypatch)
    return exporter


def counting(last: int) -> Plan[int]:
    rows = yield Query(MANY, {"last": last})
    return len(rows.rows)


def failing() -> Plan[None]:
    yield Query("SELECT secret FROM nowhere", {})


async def test_a_query_is_a_start_and_a_result(database: Database) -> None:
    """The result shows the first rows and counts all; the plan gets all of them."""
    asking = Asking(counting(100), database, count(7))
    start, result = [event async for event in asking]
    assert start == ToolStart("query-7", "query_database", {"sql": MANY, "parameters": {"last": 100}})
    rows: JsonValue = [[number] for number in range(1, MAX_ROWS_SHOWN + 1)]
    shown: JsonValue = {"columns": ["x"], "rows": rows, "rowCount": 100}
    assert result == ToolResult("query-7", "query_database", shown)
    assert asking.result == 100


async def test_a_result_needs_all_events(database: Database) -> None:
    """Asked too early, it is a mistake of the caller's."""
    with pytest.raises(RuntimeError, match="not all read"):
        _ = Asking(counting(1), database, count()).result


async def test_a_query_that_fails_has_a_result_too(
    database: Database, exporter: InMemorySpanExporter
) -> None:
    """The call is closed without the database's own words, the error then ends the run, the span tells it."""
    asking = Asking(failing(), database, count(1))
    assert isinstance(await anext(asking), ToolStart)
    result = await anext(asking)
    assert result == ToolResult("query-1", "query_database", "The query failed.", is_error=True)
    with pytest.raises(sqlite3.OperationalError):
        await anext(asking)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "OperationalError"


async def test_each_query_has_a_span(database: Database, exporter: InMemorySpanExporter) -> None:
    """It is named after the tool, has the call's id, is a child of the run's span, and never current."""
    with trace.get_tracer("test").start_as_current_span("invoke_agent portfolio") as run:
        asking = Asking(queries.nav("PACG"), database, count(1))
        async for event in asking:
            assert trace.get_current_span() is run
            assert event.tool == "query_database"
    *tools, parent = exporter.get_finished_spans()
    assert [span.name for span in tools] == ["execute_tool query_database"] * 4
    for number, span in enumerate(tools, 1):
        assert span.parent == parent.context
        assert span.attributes == {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "query_database",
            "gen_ai.tool.call.id": f"query-{number}",
        }


def test_a_cancelled_call_is_no_error(exporter: InMemorySpanExporter) -> None:
    """The span says that it was cancelled, and has no error."""
    with pytest.raises(asyncio.CancelledError), ToolSpan("query_database", "query-1"):
        raise asyncio.CancelledError
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["tokenwire.cancelled"] is True


def test_an_agent_error_is_told_by_its_code(exporter: InMemorySpanExporter) -> None:
    """Its class would say nothing."""
    with pytest.raises(AgentError), ToolSpan("query_database", "query-1"):
        raise AgentError("UNAVAILABLE", "closed")
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["error.type"] == "UNAVAILABLE"
