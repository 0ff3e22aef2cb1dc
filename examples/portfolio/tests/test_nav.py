"""The workflow "Calculate NAV for all portfolios"."""

from __future__ import annotations

import re
import sqlite3
from decimal import Decimal

import pytest

from agent_core.agents import AgentError, AgentEvent, Custom, Progress, RunRequest, ToolResult, ToolStart
from tokenwire_portfolio import TOOLS, Database, PortfolioAgent, queries

INDEPENDENT_NAV = """
WITH latest(day) AS (SELECT max(day) FROM prices),
rate(currency, digits, e8) AS (
    SELECT c.currency, c.minor_digits,
        CASE c.currency WHEN 'USD' THEN 100000000 ELSE (
            SELECT CAST(round(f.usd * 1e8) AS INTEGER) FROM fx_rates f
            WHERE f.currency = c.currency AND f.day <= (SELECT day FROM latest)
            ORDER BY f.day DESC LIMIT 1) END
    FROM currencies c),
holding AS (
    SELECT h.portfolio, b.base_currency AS base, i.currency, i.price_per AS per,
        CAST(round(h.quantity * 1e4) AS INTEGER) AS quantity_e4,
        CASE i.kind WHEN 'cash' THEN 10000 ELSE (
            SELECT CAST(round(p.price * 1e4) AS INTEGER) FROM prices p
            WHERE p.symbol = h.symbol ORDER BY p.day DESC LIMIT 1) END AS price_e4
    FROM holdings h, instruments i, portfolios b
    WHERE i.symbol = h.symbol AND b.portfolio = h.portfolio),
local AS (
    SELECT holding.*, own.digits, own.e8, other.digits AS base_digits, other.e8 AS base_e8,
        (quantity_e4 * price_e4 + CAST(pow(10, 8 - own.digits) AS INTEGER) * per / 2)
            / (CAST(pow(10, 8 - own.digits) AS INTEGER) * per) AS minor
    FROM holding, rate AS own, rate AS other
    WHERE own.currency = holding.currency AND other.currency = holding.base),
converted AS (
    SELECT portfolio, base_digits, CASE WHEN currency = base THEN minor ELSE
        (2 * minor * e8 * CAST(pow(10, max(base_digits - digits, 0)) AS INTEGER)
            + base_e8 * CAST(pow(10, max(digits - base_digits, 0)) AS INTEGER))
        / (2 * base_e8 * CAST(pow(10, max(digits - base_digits, 0)) AS INTEGER)) END AS base_minor
    FROM local)
SELECT portfolio, base_digits, sum(base_minor) AS minor, min(typeof(base_minor)) AS type
FROM converted GROUP BY portfolio
"""
"""Net asset values in whole minor units, by integer arithmetic in SQLite alone."""


async def run(agent: PortfolioAgent, message: str) -> tuple[list[AgentEvent | str], str]:
    events = [event async for event in agent(RunRequest(message))]
    return events, "".join(event for event in events if isinstance(event, str))


def independent_navs(raw: sqlite3.Connection) -> dict[str, Decimal]:
    rows = raw.execute(INDEPENDENT_NAV).fetchall()
    assert {row["type"] for row in rows} == {"integer"}  # No sum has overflowed into a float.
    return {row["portfolio"]: Decimal(row["minor"]).scaleb(-row["base_digits"]) for row in rows}


async def test_the_values_are_those_of_independent_sql(
    agent: PortfolioAgent, raw: sqlite3.Connection
) -> None:
    """The table that the user reads shows, to the last minor unit, what SQLite computes by itself."""
    _, text = await run(agent, "Calculate NAV for all portfolios")
    shown = {
        name: Decimal(value.replace(",", ""))
        for name, value in re.findall(r"^\| ([^|]+?) \| [A-Z]{3} \| ([\d,.]+) \|", text, re.MULTILINE)
    }
    names = dict(raw.execute("SELECT portfolio, name FROM portfolios").fetchall())
    assert shown == {names[code]: value for code, value in independent_navs(raw).items()}
    assert len(shown) == 6


async def test_the_tool_gives_the_same_values(database: Database, raw: sqlite3.Connection) -> None:
    """A model that calls `nav` as a tool gets what the workflow shows."""
    nav = database.tool(queries.nav)
    assert nav.__doc__ == queries.nav.__doc__
    for code, value in independent_navs(raw).items():
        assert (await nav(code)).total == value
    assert queries.nav in TOOLS


async def test_progress_goes_from_0_to_100(agent: PortfolioAgent) -> None:
    """Percents never fall, begin at 0 and end at 100, with the source document's words for each portfolio."""
    events, _ = await run(agent, "Calculate NAV for all portfolios")
    steps = [event for event in events if isinstance(event, Progress)]
    percents = [step.percent for step in steps]
    assert percents == sorted(percents, key=lambda percent: percent or 0)
    assert (percents[0], percents[-1], len(set(percents))) == (0, 100, len(steps))
    words = [step.message.partition("…")[0] for step in steps]
    assert words == [
        "Fetching portfolios",
        *["Fetching holdings", "Calculating", "Validating"] * 6,
        "Complete!",
    ]
    assert "Thames Value (6 of 6)" in steps[-2].message


async def test_every_query_is_a_tool_call(agent: PortfolioAgent) -> None:
    """Each call has its SQL and parameters, is followed by its own result, and has an id of its own."""
    events, _ = await run(agent, "Calculate NAV for all portfolios")
    calls = [event for event in events if isinstance(event, (ToolStart, ToolResult))]
    starts, results = calls[::2], calls[1::2]
    assert len({start.call_id for start in starts}) == len(starts) == len(results) == 14
    for start, result in zip(starts, results, strict=True):
        assert isinstance(start, ToolStart)
        assert isinstance(result, ToolResult)
        assert (start.call_id, start.tool) == (result.call_id, result.tool)
        assert isinstance(start.args, dict)
        assert isinstance(result.result, dict)
        assert start.args.keys() == {"sql", "parameters"}
        assert result.result.keys() == {"columns", "rows", "rowCount"}
        assert not result.is_error


async def test_findings_are_told(agent: PortfolioAgent) -> None:
    """The sample's faults are found, as events for programs and as lines for people."""
    events, text = await run(agent, "Calculate NAV for all portfolios")
    found = [event.data for event in events if isinstance(event, Custom)]
    told = {(data["portfolio"], data["kind"], data["subject"]) for data in found if isinstance(data, dict)}
    assert told == {
        ("ALPS", "stale_price", "HELV31"),
        ("ALPS", "carried_rate", "GBP"),
        ("RHIN", "zero_quantity", "VOLT"),
        ("RHIN", "carried_rate", "GBP"),
        ("THAM", "carried_rate", "GBP"),
    }
    assert "Validation has 5 findings" in text
    assert "The last price of HELV31 is 18 days old" in text


async def test_one_portfolio_can_be_asked_for(agent: PortfolioAgent) -> None:
    """A name, in any case, limits the work to that portfolio."""
    events, text = await run(agent, "what is the nav of pacific growth?")
    assert "Pacific Growth" in text
    assert "Thames Value" not in text
    assert sum(isinstance(event, ToolStart) for event in events) == 4
    assert "Validation found nothing wrong" in text


async def test_an_unknown_portfolio_is_not_found(agent: PortfolioAgent) -> None:
    """The error names the portfolios that there are."""
    with pytest.raises(AgentError) as caught:
        await run(agent, "Calculate NAV for the Moon fund")
    assert caught.value.code == "NOT_FOUND"
    assert "“moon fund”" in caught.value.message
    assert "Pacific Growth" in caught.value.details["known"]


async def test_text_comes_word_by_word(agent: PortfolioAgent) -> None:
    """Each text delta is one word with the space behind it."""
    events, _ = await run(agent, "Calculate NAV for all portfolios")
    assert all(re.fullmatch(r"\S+\s*", event) for event in events if isinstance(event, str))
