"""The workflow "Generate quarterly performance report"."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest

from agent_core.agents import AgentError, AgentEvent, Progress, RunRequest, ToolResult, ToolStart
from tokenwire_portfolio import Database, PortfolioAgent, queries

SECTIONS = ["Executive Summary", "Performance Analysis", "Risk Metrics", "Conclusion"]

INDEPENDENT_FIGURES = """
WITH RECURSIVE
base_day(day) AS (SELECT max(day) FROM prices WHERE day < :first),
calendar(day) AS (
    SELECT DISTINCT day FROM prices WHERE day BETWEEN (SELECT day FROM base_day) AND :last),
rate(day, currency, usd, digits) AS (
    SELECT k.day, c.currency, CASE c.currency WHEN 'USD' THEN 1.0 ELSE (
            SELECT CAST(f.usd AS REAL) FROM fx_rates f
            WHERE f.currency = c.currency AND f.day <= k.day ORDER BY f.day DESC LIMIT 1) END, c.minor_digits
    FROM calendar k, currencies c),
held(portfolio, base, day, symbol, kind, currency, per, quantity) AS (
    SELECT h.portfolio, b.base_currency, k.day, h.symbol, i.kind, i.currency, i.price_per,
        h.quantity - CASE i.kind
            WHEN 'cash' THEN coalesce((SELECT sum(t.amount) FROM transactions t
                WHERE t.portfolio = h.portfolio AND t.currency = i.currency AND t.day > k.day), 0)
            ELSE coalesce((SELECT sum(t.quantity) FROM transactions t
                WHERE t.portfolio = h.portfolio AND t.symbol = h.symbol AND t.day > k.day), 0) END
    FROM holdings h, calendar k, instruments i, portfolios b
    WHERE i.symbol = h.symbol AND b.portfolio = h.portfolio),
position(portfolio, day, symbol, kind, value) AS (
    SELECT held.portfolio, held.day, held.symbol, held.kind,
        round(round(held.quantity / held.per * CASE held.kind WHEN 'cash' THEN 1.0 ELSE (
            SELECT CAST(p.price AS REAL) FROM prices p
            WHERE p.symbol = held.symbol AND p.day <= held.day ORDER BY p.day DESC LIMIT 1) END, own.digits)
            * own.usd / other.usd, other.digits)
    FROM held
    JOIN rate AS own ON own.day = held.day AND own.currency = held.currency
    JOIN rate AS other ON other.day = held.day AND other.currency = held.base),
worth(portfolio, day, value) AS (SELECT portfolio, day, sum(value) FROM position GROUP BY portfolio, day),
moved(portfolio, day, kind, value) AS (
    SELECT t.portfolio, t.day, t.kind, t.amount * own.usd / other.usd
    FROM transactions t
    JOIN portfolios b ON b.portfolio = t.portfolio
    JOIN rate AS own ON own.day = t.day AND own.currency = t.currency
    JOIN rate AS other ON other.day = t.day AND other.currency = b.base_currency
    WHERE t.day > (SELECT day FROM base_day)),
step(portfolio, day, value, flow, before) AS (
    SELECT w.portfolio, w.day, w.value,
        coalesce((SELECT sum(m.value) FROM moved m WHERE m.portfolio = w.portfolio AND m.day = w.day
            AND m.kind IN ('deposit', 'withdrawal')), 0),
        lag(w.value) OVER (PARTITION BY w.portfolio ORDER BY w.day)
    FROM worth w),
growth(portfolio, day, g) AS (
    SELECT portfolio, day, (value - flow) / before - 1 FROM step WHERE before IS NOT NULL),
level(portfolio, day, l) AS (
    SELECT portfolio, day, exp(sum(ln(1 + g)) OVER (PARTITION BY portfolio ORDER BY day)) FROM growth),
fall(portfolio, f) AS (
    SELECT portfolio,
        1 - l / max(1, max(l) OVER (PARTITION BY portfolio ORDER BY day)) FROM level),
ranked(portfolio, g, place, days) AS (
    SELECT portfolio, g, row_number() OVER (PARTITION BY portfolio ORDER BY g),
        count(*) OVER (PARTITION BY portfolio) FROM growth),
spread(portfolio, deviation) AS (
    SELECT growth.portfolio, sqrt(sum((g - mean) * (g - mean)) / (count(*) - 1) * 252)
    FROM growth JOIN (SELECT portfolio, avg(g) AS mean FROM growth GROUP BY portfolio) AS average
        ON average.portfolio = growth.portfolio
    GROUP BY growth.portfolio),
weight(portfolio, symbol, w) AS (
    SELECT p.portfolio, p.symbol, p.value / w.value
    FROM position p JOIN worth w ON w.portfolio = p.portfolio AND w.day = p.day
    WHERE p.day = (SELECT max(day) FROM calendar) AND p.kind <> 'cash'),
bench(portfolio, b) AS (
    SELECT x.portfolio,
        (SELECT p.price FROM prices p WHERE p.symbol = x.benchmark AND p.day = z.day) * uz.usd / bz.usd
        / ((SELECT p.price FROM prices p WHERE p.symbol = x.benchmark AND p.day = a.day) * ua.usd / ba.usd)
        - 1
    FROM portfolios x, base_day a, (SELECT max(day) AS day FROM calendar) z,
        rate ua, rate uz, rate ba, rate bz
    WHERE ua.day = a.day AND ba.day = a.day AND uz.day = z.day AND bz.day = z.day
        AND ua.currency = 'USD' AND uz.currency = 'USD'
        AND ba.currency = x.base_currency AND bz.currency = x.base_currency)
SELECT b.portfolio AS code, b.name,
    (SELECT value FROM worth w WHERE w.portfolio = b.portfolio ORDER BY day LIMIT 1) AS start_value,
    (SELECT value FROM worth w WHERE w.portfolio = b.portfolio ORDER BY day DESC LIMIT 1) AS end_value,
    (SELECT sum(flow) FROM step s WHERE s.portfolio = b.portfolio AND before IS NOT NULL) AS flows,
    (SELECT total(value) FROM moved m WHERE m.portfolio = b.portfolio AND m.day <= :last
        AND kind IN ('dividend', 'coupon')) AS income,
    (SELECT total(value) FROM moved m WHERE m.portfolio = b.portfolio AND m.day <= :last
        AND kind = 'fee') AS costs,
    (SELECT l FROM level WHERE level.portfolio = b.portfolio ORDER BY day DESC LIMIT 1) - 1 AS own,
    (SELECT b FROM bench WHERE bench.portfolio = b.portfolio) AS benchmark,
    (SELECT deviation FROM spread WHERE spread.portfolio = b.portfolio) AS volatility,
    (SELECT max(f) FROM fall WHERE fall.portfolio = b.portfolio) AS drawdown,
    (SELECT max(0, -g) FROM ranked r WHERE r.portfolio = b.portfolio AND place = (days + 19) / 20) AS var,
    (SELECT symbol FROM weight w WHERE w.portfolio = b.portfolio ORDER BY w.w DESC LIMIT 1) AS largest,
    (SELECT max(w) FROM weight WHERE weight.portfolio = b.portfolio) AS largest_weight,
    (SELECT sum(w * w) FROM weight WHERE weight.portfolio = b.portfolio) AS hhi
FROM portfolios b ORDER BY b.name
"""
"""Every figure of the report, from the raw tables, in floating point."""

QUARTERS = {"Q2 2026": ("2026-04-01", "2026-06-30"), "Q3 2026": ("2026-07-01", "2026-09-30")}


def independent_figures(raw: sqlite3.Connection, quarter: str) -> list[dict[str, Any]]:
    first, last = QUARTERS[quarter]
    rows = raw.execute(INDEPENDENT_FIGURES, {"first": first, "last": last}).fetchall()
    assert len(rows) == 6
    return [dict(row) for row in rows]


async def run(agent: PortfolioAgent, message: str) -> tuple[list[AgentEvent | str], str]:
    events = [event async for event in agent(RunRequest(message))]
    return events, "".join(event for event in events if isinstance(event, str))


def rows_under(text: str, section: str) -> dict[str, list[str]]:
    """The table of a section: cells by the portfolio's name."""
    body = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def number(cell: str) -> float:
    return float(re.sub(r"[A-Z,% +]", "", cell))


@pytest.mark.parametrize("quarter", sorted(QUARTERS))
async def test_the_tool_gives_the_figures_of_independent_sql(
    database: Database, raw: sqlite3.Connection, quarter: str
) -> None:
    """Returns, risk and weights of every portfolio and quarter are what one big SQL statement computes."""
    for expected in independent_figures(raw, quarter):
        review = await database.answer(queries.performance(expected["code"], quarter))
        risk = review.risk
        fractions = {
            "own": review.comparison.time_weighted_return,
            "benchmark": review.comparison.benchmark_return,
            "volatility": risk.volatility,
            "drawdown": risk.max_drawdown,
            "var": risk.value_at_risk,
            "largest_weight": risk.largest_weight,
            "hhi": risk.concentration,
        }
        for name, value in fractions.items():
            assert float(value) == pytest.approx(expected[name], abs=1e-8), (name, expected["code"])
        amounts = ("start_value", "end_value", "flows", "income", "costs")
        for name in amounts:
            assert float(getattr(review, name)) == pytest.approx(expected[name], abs=0.6, rel=1e-9), name
        assert risk.largest_symbol == expected["largest"]


async def test_the_report_shows_the_figures_of_independent_sql(
    agent: PortfolioAgent, raw: sqlite3.Connection
) -> None:
    """What the user reads in the tables is what SQL computes, as it is rounded there."""
    _, text = await run(agent, "Generate quarterly performance report")
    performance, risk = rows_under(text, "Performance Analysis"), rows_under(text, "Risk Metrics")
    half_shown = 0.005 + 1e-6
    for expected in independent_figures(raw, "Q3 2026"):
        shown = performance[expected["name"]]
        assert number(shown[1]) == pytest.approx(expected["start_value"], rel=1e-9)
        assert number(shown[5]) == pytest.approx(expected["end_value"], rel=1e-9)
        assert number(shown[6]) == pytest.approx(100 * expected["own"], abs=half_shown)
        assert number(shown[7]) == pytest.approx(100 * expected["benchmark"], abs=half_shown)
        difference = 100 * (expected["own"] - expected["benchmark"])
        assert number(shown[8]) == pytest.approx(difference, abs=half_shown)
        shown = risk[expected["name"]]
        assert number(shown[0]) == pytest.approx(100 * expected["volatility"], abs=half_shown)
        assert number(shown[1]) == pytest.approx(100 * expected["drawdown"], abs=half_shown)
        assert number(shown[2]) == pytest.approx(100 * expected["var"], abs=half_shown)
        assert number(shown[3]) == pytest.approx(expected["var"] * expected["end_value"], rel=1e-6)
        assert shown[4] == expected["largest"]
        assert number(shown[5]) == pytest.approx(100 * expected["largest_weight"], abs=half_shown)
        assert number(shown[7]) == pytest.approx(expected["hhi"], abs=0.00005 + 1e-8)


async def test_sections_come_in_order_as_they_are_made(agent: PortfolioAgent) -> None:
    """The four sections stand in order, and queries for the later ones follow the earlier ones' text."""
    events, text = await run(agent, "Generate quarterly performance report")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    first_text = next(index for index, event in enumerate(events) if isinstance(event, str))
    queries_after = [event for event in events[first_text:] if isinstance(event, ToolStart)]
    assert len(queries_after) == 2


async def test_progress_and_tool_calls_are_whole(agent: PortfolioAgent) -> None:
    """Percents rise from 0 to 100, the last event; each call is followed by its result; rows are bounded."""
    events, _ = await run(agent, "Generate quarterly performance report")
    percents = [event.percent for event in events if isinstance(event, Progress)]
    assert percents == sorted(set(percents), key=lambda percent: percent or 0)
    assert (percents[0], percents[-1]) == (0, 100)
    assert isinstance(events[-1], Progress)
    calls = [event for event in events if isinstance(event, (ToolStart, ToolResult))]
    assert [call.call_id for call in calls[::2]] == [call.call_id for call in calls[1::2]]
    results = [call.result for call in calls if isinstance(call, ToolResult)]
    sizes = [(len(result["rows"]), result["rowCount"]) for result in results if isinstance(result, dict)]
    assert max(shown for shown, _ in sizes) == 20
    assert max(found for _, found in sizes) > 4000


async def test_the_words_agree_with_the_figures(agent: PortfolioAgent, raw: sqlite3.Connection) -> None:
    """Best, worst, ahead of the benchmark and above the limit are told as the figures are."""
    _, text = await run(agent, "Generate quarterly performance report")
    figures = independent_figures(raw, "Q3 2026")
    ranked = sorted(figures, key=lambda each: each["own"])
    assert f"{ranked[-1]['name']} did best" in text
    assert f"{ranked[0]['name']} worst" in text
    ahead = [each for each in figures if each["own"] > each["benchmark"]]
    assert f"Ahead of the benchmark in Q3 2026: {len(ahead)} of 6 portfolios" in text
    limits = dict(raw.execute("SELECT portfolio, CAST(maximum AS REAL) FROM limits").fetchall())
    over = [each["name"] for each in figures if each["largest_weight"] > limits[each["code"]]]
    assert f"largest position of: {', '.join(over)}." in text
    assert "HELV31 is 9 days old" in text


async def test_a_portfolio_and_a_quarter_can_be_chosen(
    agent: PortfolioAgent, raw: sqlite3.Connection
) -> None:
    """The message may name both; the report is about just them."""
    _, text = await run(agent, "Quarterly report for Sakura Opportunities in Q2 2026")
    (expected,) = [each for each in independent_figures(raw, "Q2 2026") if each["code"] == "SAKU"]
    shown = rows_under(text, "Performance Analysis")
    assert list(shown) == ["Sakura Opportunities"]
    assert number(shown["Sakura Opportunities"][6]) == pytest.approx(100 * expected["own"], abs=0.0051)
    assert "There is no JPY rate for 2026-06-30" in text


async def test_a_quarter_can_be_asked_for_without_its_year(agent: PortfolioAgent) -> None:
    """The source document's question: the report is about that quarter, and not the last one."""
    _, text = await run(agent, "Show Q2 performance for my portfolio")
    assert "This report covers 6 portfolios in Q2 2026" in text


@pytest.mark.parametrize("quarter", ["Q4 2026", "Q4"])
async def test_a_quarter_that_is_not_covered_is_not_found(agent: PortfolioAgent, quarter: str) -> None:
    """The current quarter is not over: asked for, it is refused with those that are there."""
    with pytest.raises(AgentError, match="Q4 2026") as caught:
        await run(agent, f"Quarterly report for {quarter}")
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.details == {"known": "Q2 2026, Q3 2026"}


async def test_a_clean_portfolio_is_told_to_be_clean(agent: PortfolioAgent) -> None:
    """Without a position above its limit and without findings, the words say so."""
    _, text = await run(agent, "Generate quarterly performance report for Pacific Growth")
    assert "No position is above its limit." in text
    assert "All positions are within their limits. The data of the last day was complete." in text
    assert "did best" not in text
