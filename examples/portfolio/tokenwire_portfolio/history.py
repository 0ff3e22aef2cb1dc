"""A portfolio's past, and how well it did: the arithmetic behind the quarterly report.

Quantities of the past follow from today's by taking back the transactions since. Days are trading
days, flows count at the end of their day, and ratios keep the 28 digits of Decimal's default context:
only what is shown is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from math import ceil
from typing import Final

from agent_core.agents import AgentError
from tokenwire_portfolio.quarter import Quarter
from tokenwire_portfolio.records import (
    Comparison,
    DayReturn,
    Holding,
    Nav,
    Performance,
    Portfolio,
    Risk,
)
from tokenwire_portfolio.valuation import CASH, Rates, Series, find_faults, value_portfolio

TRADING_DAYS_A_YEAR: Final = 252
TAIL: Final = 20
"""One day in so many is worse than the value at risk: 95 %."""

FLOWS: Final = frozenset({"deposit", "withdrawal"})
INCOME: Final = frozenset({"dividend", "coupon"})
COSTS: Final = frozenset({"fee"})

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Something that changed a portfolio."""

    day: date
    kind: str
    symbol: str
    """The instrument; empty for none."""
    quantity: Decimal
    """Change of the instrument's quantity."""
    currency: str
    amount: Decimal
    """Change of the cash in that currency."""


@dataclass(frozen=True, slots=True)
class Market:
    """Prices and exchange rates of many days."""

    prices: Mapping[str, Series]
    """By symbol; without cash."""
    rates: Rates

    def priced(self, holding: Holding, day: date) -> Holding:
        """Return a holding with the price that counted on a day."""
        if holding.kind == CASH:
            return holding
        series = self.prices.get(holding.symbol)
        point = series.at(day) if series else None
        return replace(holding, price=point.value if point else None, price_day=point.day if point else None)


@dataclass(frozen=True, slots=True)
class Book:
    """A portfolio's holdings of today, and what changed them since some day."""

    portfolio: Portfolio
    holdings: tuple[Holding, ...]
    transactions: tuple[Transaction, ...]
    """Ascending by day."""

    def at(self, day: date) -> tuple[Holding, ...]:
        """Return the holdings at a day's end. The transactions must go back to it."""
        quantities = {holding.symbol: holding.quantity for holding in self.holdings}
        for transaction in self.transactions:
            if transaction.day > day:
                quantities[f"CASH.{transaction.currency}"] -= transaction.amount
                if transaction.symbol and transaction.quantity:
                    quantities[transaction.symbol] -= transaction.quantity
        return tuple(replace(holding, quantity=quantities[holding.symbol]) for holding in self.holdings)

    def total(self, kinds: frozenset[str], days: tuple[date, date], rates: Rates) -> Decimal:
        """Return what transactions of some kinds moved, in the base currency.

        Args:
            kinds: The kinds.
            days: After the first and until the second.
            rates: Exchange rates.
        """
        base = self.portfolio.base_currency
        moved = _ZERO
        for transaction in self.transactions:
            if transaction.kind in kinds and days[0] < transaction.day <= days[1]:
                amount = rates.convert(transaction.amount, transaction.currency, base, transaction.day)
                moved += _known(amount, self.portfolio, transaction.day)
        return moved


def measure_performance(
    book: Book, market: Market, quarter: Quarter, trading_days: Sequence[date]
) -> Performance:
    """Return what a portfolio made of a quarter.

    Args:
        book: The portfolio, with the transactions since the day before the quarter.
        market: Prices and rates until the quarter's end.
        quarter: A quarter that the data covers.
        trading_days: All trading days, ascending.

    Raises:
        AgentError: FAILED_PRECONDITION, when the portfolio can't be valued on one of the days.
    """
    start_day, days = quarter_days(quarter, trading_days)
    opening = _value_at(book, market, start_day)
    start_value = _known(opening.total, book.portfolio, start_day)
    returns = tuple(_returns(book, market, (start_day, *days), start_value))
    closing = _value_at(book, market, days[-1])
    span = (start_day, days[-1])
    return Performance(
        portfolio=book.portfolio,
        quarter=quarter,
        start_day=start_day,
        end_day=days[-1],
        start_value=start_value,
        end_value=returns[-1].value,
        flows=sum((day.flow for day in returns), _ZERO),
        income=book.total(INCOME, span, market.rates),
        costs=book.total(COSTS, span, market.rates),
        time_weighted_return=linked([day.growth for day in returns])[-1] - _ONE,
        days=returns,
        closing=closing.positions,
        findings=closing.findings,
    )


def quarter_days(quarter: Quarter, trading_days: Sequence[date]) -> tuple[date, tuple[date, ...]]:
    """Return the last trading day before a quarter that the data covers, and those in it."""
    start_day = max(day for day in trading_days if day < quarter.first)
    return start_day, tuple(day for day in trading_days if quarter.first <= day <= quarter.last)


def _returns(book: Book, market: Market, days: Sequence[date], start_value: Decimal) -> Iterator[DayReturn]:
    """Yield each day's return but the first day's."""
    before = start_value
    for yesterday, day in pairwise(days):
        nav = _value_at(book, market, day, faults=False)
        value = _known(nav.total, book.portfolio, day)
        flow = book.total(FLOWS, (yesterday, day), market.rates)
        yield DayReturn(day, value, flow, (value - flow) / before - _ONE)
        before = value


def _value_at(book: Book, market: Market, day: date, *, faults: bool = True) -> Nav:
    """Return a portfolio's value at a day's end."""
    holdings = tuple(market.priced(holding, day) for holding in book.at(day))
    nav = value_portfolio(book.portfolio, holdings, market.rates, day)
    return replace(nav, findings=find_faults(book.portfolio, holdings, market.rates, day)) if faults else nav


def _known(value: Decimal | None, portfolio: Portfolio, day: date) -> Decimal:
    """Return a value that is there.

    Raises:
        AgentError: FAILED_PRECONDITION: it is not.
    """
    if value is None:
        text = f"{portfolio.name} can't be valued on {day}: a price or an exchange rate is missing."
        raise AgentError("FAILED_PRECONDITION", text, details={"portfolio": portfolio.code, "day": str(day)})
    return value


def linked(growths: Sequence[Decimal]) -> list[Decimal]:
    """Return what one unit has become after each of some returns, beginning with 1."""
    levels = [_ONE]
    for growth in growths:
        levels.append(levels[-1] * (_ONE + growth))
    return levels


def compare(performance: Performance, levels: Series, currency: str, rates: Rates) -> Comparison:
    """Return a performance beside its benchmark's, which is converted to the base currency.

    Args:
        performance: The portfolio's.
        levels: The benchmark's levels, the two days' among them.
        currency: The currency that the benchmark is quoted in.
        rates: Exchange rates.

    Raises:
        AgentError: FAILED_PRECONDITION, when a level or a rate is missing.
    """
    portfolio = performance.portfolio
    worth = []
    for day in (performance.start_day, performance.end_day):
        level, rate, base = levels.at(day), rates.at(currency, day), rates.at(portfolio.base_currency, day)
        known = level and rate and base and level.value * rate.value / base.value
        worth.append(_known(known or None, portfolio, day))
    benchmark = worth[1] / worth[0] - _ONE
    own = performance.time_weighted_return
    return Comparison(own, benchmark, own - benchmark)


def measure_risk(performance: Performance) -> Risk:
    """Return how a portfolio's quarter went up and down, and what weighs most at its end."""
    growths = [day.growth for day in performance.days]
    at_risk = value_at_risk(growths)
    weights = {
        position.holding.symbol: position.value / performance.end_value
        for position in performance.closing
        if position.holding.kind != CASH
    }
    largest = max(weights, key=lambda symbol: weights[symbol], default="")
    return Risk(
        volatility=volatility(growths),
        max_drawdown=max_drawdown(linked(growths)),
        value_at_risk=at_risk,
        value_at_risk_amount=at_risk * performance.end_value,
        largest_symbol=largest,
        largest_weight=weights.get(largest, _ZERO),
        concentration=sum((weight * weight for weight in weights.values()), _ZERO),
    )


def volatility(growths: Sequence[Decimal]) -> Decimal:
    """Return the yearly volatility of daily returns; 0 for fewer than two."""
    count = len(growths)
    if count < 2:  # noqa: PLR2004 # a sample deviation needs two
        return _ZERO
    mean = sum(growths, _ZERO) / count
    variance = sum(((growth - mean) ** 2 for growth in growths), _ZERO) / (count - 1)
    return (variance * TRADING_DAYS_A_YEAR).sqrt()


def max_drawdown(levels: Sequence[Decimal]) -> Decimal:
    """Return the deepest fall from a peak, as a positive fraction."""
    peak, deepest = levels[0], _ZERO
    for level in levels:
        peak = max(peak, level)
        deepest = max(deepest, _ONE - level / peak)
    return deepest


def value_at_risk(growths: Sequence[Decimal]) -> Decimal:
    """Return the loss that one day in twenty reaches or exceeds; 0 when even that day gains."""
    worst = sorted(growths)[ceil(len(growths) / TAIL) - 1]
    return max(_ZERO, -worst)
