"""The portfolio queries: every SQL statement there is, and what is made of the rows.

Each function returns a plan (see `tokenwire_portfolio.plan`). Those in `TOOLS` take only
texts, and are meant for a model as well:

    async with Database() as database:
        tools = [database.tool(plan) for plan in TOOLS]

gives async functions with their names, docstrings and parameters, which return typed results. No
statement is ever made from a user's or a model's text: it is matched against names in Python, or bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from agent_core.agents import AgentError
from tokenwire_portfolio.history import (
    Book,
    Market,
    Transaction,
    compare,
    measure_performance,
    measure_risk,
)
from tokenwire_portfolio.names import match_portfolio
from tokenwire_portfolio.plan import Plan, Query, Rows
from tokenwire_portfolio.quarter import Quarter, find_quarter, full_quarters
from tokenwire_portfolio.records import Holding, Nav, Portfolio, QuarterReview
from tokenwire_portfolio.valuation import CASH, Point, Rates, Series, find_faults, value_portfolio

PORTFOLIOS: Final = """\
SELECT portfolio, name, base_currency, benchmark
FROM portfolios
ORDER BY name"""

LAST_DAY: Final = """\
SELECT max(day) AS day
FROM prices"""

TRADING_DAYS: Final = """\
SELECT DISTINCT day
FROM prices
ORDER BY day"""

HOLDINGS: Final = """\
SELECT h.symbol, i.name, i.kind, i.currency, i.price_per, h.quantity, p.price, p.day AS price_day
FROM holdings AS h
JOIN instruments AS i ON i.symbol = h.symbol
LEFT JOIN prices AS p ON p.symbol = h.symbol
  AND p.day = (SELECT max(day) FROM prices WHERE symbol = h.symbol AND day <= :day)
WHERE h.portfolio = :portfolio
ORDER BY i.kind, h.symbol"""

QUANTITIES: Final = """\
SELECT h.symbol, i.name, i.kind, i.currency, i.price_per, h.quantity
FROM holdings AS h
JOIN instruments AS i ON i.symbol = h.symbol
WHERE h.portfolio = :portfolio
ORDER BY i.kind, h.symbol"""

RATES_OF_DAY: Final = """\
SELECT c.currency, c.minor_digits, r.day, r.usd
FROM currencies AS c
LEFT JOIN fx_rates AS r ON r.currency = c.currency
  AND r.day = (SELECT max(day) FROM fx_rates WHERE currency = c.currency AND day <= :day)
ORDER BY c.currency"""

RATES_UNTIL: Final = """\
SELECT c.currency, c.minor_digits, r.day, r.usd
FROM currencies AS c
LEFT JOIN fx_rates AS r ON r.currency = c.currency AND r.day <= :until
ORDER BY c.currency, r.day"""

PRICES_UNTIL: Final = """\
SELECT symbol, day, price
FROM prices
WHERE symbol IN (SELECT symbol FROM holdings) AND day <= :until
ORDER BY symbol, day"""

TRANSACTIONS_AFTER: Final = """\
SELECT day, kind, symbol, quantity, currency, amount
FROM transactions
WHERE portfolio = :portfolio AND day > :after
ORDER BY day, id"""

BENCHMARK: Final = """\
SELECT i.currency, p.day, p.price
FROM prices AS p
JOIN instruments AS i ON i.symbol = p.symbol
WHERE p.symbol = :symbol AND p.day BETWEEN :first AND :last
ORDER BY p.day"""

LIMITS: Final = """\
SELECT portfolio, maximum
FROM limits
WHERE measure = :measure
ORDER BY portfolio"""


def list_portfolios() -> Plan[tuple[Portfolio, ...]]:
    """Return all portfolios with their codes, base currencies and benchmarks, by name."""
    rows = yield Query(PORTFOLIOS, {})
    return tuple(
        Portfolio(row["portfolio"], row["name"], row["base_currency"], row["benchmark"]) for row in rows
    )


def holdings(portfolio: str) -> Plan[tuple[Holding, ...]]:
    """Return what a portfolio holds, with each instrument's last price.

    Args:
        portfolio: The portfolio's name or code.
    """
    found = yield from find_portfolio(portfolio)
    day = yield from last_day()
    return (yield from holdings_of(found, day))


def nav(portfolio: str) -> Plan[Nav]:
    """Return a portfolio's net asset value on the last day, its positions, and what validation found.

    Args:
        portfolio: The portfolio's name or code.
    """
    found = yield from find_portfolio(portfolio)
    day = yield from last_day()
    held = yield from holdings_of(found, day)
    rates = yield from rates_of_day(day)
    findings = find_faults(found, held, rates, day)
    return replace(value_portfolio(found, held, rates, day), findings=findings)


def performance(portfolio: str, quarter: str = "") -> Plan[QuarterReview]:
    """Return a portfolio's quarter: return, benchmark, volatility, drawdown, value at risk, concentration.

    Args:
        portfolio: The portfolio's name or code.
        quarter: Such as "Q3 2026"; empty for the last full one.
    """
    found = yield from find_portfolio(portfolio)
    days = yield from trading_days()
    chosen = choose_quarter(quarter, days)
    market_data = yield from market(chosen.last)
    book = yield from book_of(found, max(day for day in days if day < chosen.first))
    measured = measure_performance(book, market_data, chosen, days)
    span = (measured.start_day, measured.end_day)
    currency, levels = yield from benchmark_levels(found.benchmark, span)
    return QuarterReview(
        portfolio=found,
        quarter=str(chosen),
        start_day=measured.start_day,
        end_day=measured.end_day,
        start_value=measured.start_value,
        end_value=measured.end_value,
        flows=measured.flows,
        income=measured.income,
        costs=measured.costs,
        comparison=compare(measured, levels, currency, market_data.rates),
        risk=measure_risk(measured),
        findings=measured.findings,
    )


TOOLS: Final[tuple[Callable[..., Plan[Any]], ...]] = (list_portfolios, holdings, nav, performance)
"""The plans that take only texts and answer a whole question."""


def find_portfolio(text: str) -> Plan[Portfolio]:
    """Return the portfolio of a name or code.

    Raises:
        AgentError: NOT_FOUND, naming the known ones.
    """
    known = yield from list_portfolios()
    return match_portfolio(text, known)


def last_day() -> Plan[date]:
    """Return the last day that has prices."""
    rows = yield Query(LAST_DAY, {})
    return next(date.fromisoformat(row["day"]) for row in rows)


def trading_days() -> Plan[tuple[date, ...]]:
    """Return the days that have prices, ascending."""
    rows = yield Query(TRADING_DAYS, {})
    return tuple(date.fromisoformat(row["day"]) for row in rows)


def choose_quarter(text: str, days: Sequence[date]) -> Quarter:
    """Return the quarter that a text names, or the last full one when it names none.

    Args:
        text: Any text.
        days: The trading days, ascending.

    Raises:
        AgentError: NOT_FOUND, when the data does not cover it; naming those that it covers.
    """
    covered = full_quarters(days)
    wanted = find_quarter(text, covered) or (covered[-1] if covered else None)
    if wanted is None or wanted not in covered:
        known = ", ".join(map(str, covered)) or "none"
        text = f"The data does not cover {wanted or 'a full quarter'}. Covered: {known}."
        raise AgentError("NOT_FOUND", text, details={"known": known})
    return wanted


def holdings_of(portfolio: Portfolio, day: date) -> Plan[tuple[Holding, ...]]:
    """Return a portfolio's holdings of today with the prices of a day."""
    rows = yield Query(HOLDINGS, {"portfolio": portfolio.code, "day": day.isoformat()})
    return tuple(map(_holding, rows))


def rates_of_day(day: date) -> Plan[Rates]:
    """Return each currency's last rate until a day."""
    return _rates((yield Query(RATES_OF_DAY, {"day": day.isoformat()})))


def market(until: date) -> Plan[Market]:
    """Return all prices and rates until a day."""
    bound = {"until": until.isoformat()}
    prices: dict[str, list[Point]] = defaultdict(list)
    for row in (yield Query(PRICES_UNTIL, bound)):
        prices[row["symbol"]].append(_point(row["day"], row["price"]))
    rates = _rates((yield Query(RATES_UNTIL, bound)))
    return Market(_series(prices), rates)


def book_of(portfolio: Portfolio, after: date) -> Plan[Book]:
    """Return a portfolio's holdings of today and its transactions after a day."""
    held = yield Query(QUANTITIES, {"portfolio": portfolio.code})
    rows = yield Query(TRANSACTIONS_AFTER, {"portfolio": portfolio.code, "after": after.isoformat()})
    return Book(portfolio, tuple(map(_holding, held)), tuple(map(_transaction, rows)))


def benchmark_levels(symbol: str, span: tuple[date, date]) -> Plan[tuple[str, Series]]:
    """Return a benchmark's currency and its levels from one day to another."""
    first, last = map(date.isoformat, span)
    rows = list((yield Query(BENCHMARK, {"symbol": symbol, "first": first, "last": last})))
    currency = rows[0]["currency"] if rows else ""
    return currency, Series(_point(row["day"], row["price"]) for row in rows)


def position_limits() -> Plan[Mapping[str, Decimal]]:
    """Return the largest weight that one position may have, by portfolio code."""
    rows = yield Query(LIMITS, {"measure": "largest_position"})
    return {row["portfolio"]: Decimal(row["maximum"]) for row in rows}


def _holding(row: Mapping[str, str]) -> Holding:
    """Return a holding; without a price when the row has none."""
    price, day = row.get("price"), row.get("price_day")
    return Holding(
        symbol=row["symbol"],
        name=row["name"],
        kind=row["kind"],
        currency=row["currency"],
        price_per=int(row["price_per"]),
        quantity=Decimal(row["quantity"]),
        price=Decimal(1) if row["kind"] == CASH else Decimal(price) if price else None,
        price_day=date.fromisoformat(day) if day else None,
    )


def _transaction(row: Mapping[str, str]) -> Transaction:
    return Transaction(
        day=date.fromisoformat(row["day"]),
        kind=row["kind"],
        symbol=row["symbol"],
        quantity=Decimal(row["quantity"]),
        currency=row["currency"],
        amount=Decimal(row["amount"]),
    )


def _rates(rows: Rows) -> Rates:
    dollars: dict[str, list[Point]] = defaultdict(list)
    digits = {}
    for row in rows:
        digits[row["currency"]] = int(row["minor_digits"])
        if row["day"]:
            dollars[row["currency"]].append(_point(row["day"], row["usd"]))
    return Rates(_series(dollars), digits)


def _point(day: str, value: str) -> Point:
    return Point(date.fromisoformat(day), Decimal(value))


def _series(points: Mapping[str, Iterable[Point]]) -> dict[str, Series]:
    return {name: Series(each) for name, each in points.items()}
