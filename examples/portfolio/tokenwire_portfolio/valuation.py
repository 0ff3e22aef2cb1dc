"""What holdings are worth, and what is wrong with them.

The rules:

* A holding's value in its own currency is quantity x price / price_per, rounded to that currency's
  minor unit; its value in the base currency is that times the one currency's dollar rate over the
  other's, rounded to the base currency's minor unit. Both round half away from zero. A net
  asset value is the sum of rounded values, so what is shown adds up.
* A price is the last one that was made until the day. One older than 5 days is used and reported.
* Currencies are converted through the US dollar. Without a rate for the day the last one counts,
  for up to 7 days, and is reported. After that, the holding can't be valued: a portfolio
  with such a holding has no net asset value, rather than one that leaves something out.
* A holding of zero is left out and reported.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from tokenwire_portfolio.records import Finding, Holding, Nav, Portfolio, Position

STALE_AFTER_DAYS: Final = 5
"""Calendar days: longer than a weekend with a holiday on both sides."""

CARRY_DAYS: Final = 7
"""Calendar days that a missing rate is replaced by the last one."""

PIVOT: Final = "USD"
"""The currency that all rates are quoted in."""

CASH: Final = "cash"


class Point(NamedTuple):
    """A number and its day."""

    day: date
    value: Decimal


class Series:
    """Numbers by day.

    Args:
        points: Ascending by day.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        self._points = list(points)
        self._days = [point.day for point in self._points]

    def at(self, day: date) -> Point | None:
        """Return the last number until a day, or None when there is none yet."""
        index = bisect_right(self._days, day)
        return self._points[index - 1] if index else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Exchange rates."""

    dollars: Mapping[str, Series]
    """US dollars for one unit, by currency; without the dollar itself."""
    minor_digits: Mapping[str, int]
    """Decimals of an amount, by currency."""

    def at(self, currency: str, day: date) -> Point | None:
        """Return the rate that counts on a day, or None when there is none."""
        if currency == PIVOT:
            return Point(day, Decimal(1))
        point = self.dollars[currency].at(day) if currency in self.dollars else None
        return point if point and (day - point.day).days <= CARRY_DAYS else None

    def convert(self, amount: Decimal, currency: str, base: str, day: date) -> Decimal | None:
        """Return an amount in another currency, rounded, or None without a rate."""
        if currency == base:
            return self.round(amount, base)
        rate, base_rate = self.at(currency, day), self.at(base, day)
        if rate is None or base_rate is None:
            return None
        return self.round(amount * rate.value / base_rate.value, base)

    def round(self, amount: Decimal, currency: str) -> Decimal:
        """Return an amount in whole minor units, half away from zero."""
        return amount.quantize(Decimal(1).scaleb(-self.minor_digits[currency]), ROUND_HALF_UP)


def value_holding(holding: Holding, base: str, rates: Rates, day: date) -> Position | None:
    """Return a holding with its value, or None when it has none."""
    if holding.price is None:
        return None
    local = rates.round(holding.quantity * holding.price / holding.price_per, holding.currency)
    value = rates.convert(local, holding.currency, base, day)
    return None if value is None else Position(holding, local, value)


def value_portfolio(portfolio: Portfolio, holdings: Iterable[Holding], rates: Rates, day: date) -> Nav:
    """Return a portfolio's net asset value.

    Args:
        portfolio: The portfolio.
        holdings: Its holdings, with the prices of the day.
        rates: Exchange rates.
        day: The day.
    """
    held = [holding for holding in holdings if holding.quantity]
    positions = [value_holding(holding, portfolio.base_currency, rates, day) for holding in held]
    whole = tuple(position for position in positions if position is not None)
    total = rates.round(sum((position.value for position in whole), Decimal(0)), portfolio.base_currency)
    return Nav(portfolio, day, total if len(whole) == len(held) else None, whole, ())


def find_faults(
    portfolio: Portfolio, holdings: Iterable[Holding], rates: Rates, day: date
) -> tuple[Finding, ...]:
    """Return what is wrong with a portfolio's data on a day: holdings first, then currencies.

    Args:
        portfolio: The portfolio.
        holdings: Its holdings, with the prices of the day.
        rates: Exchange rates.
        day: The day.
    """
    holdings = tuple(holdings)
    currencies = {holding.currency for holding in holdings if holding.quantity}
    if currencies - {portfolio.base_currency}:
        currencies.add(portfolio.base_currency)
    else:
        currencies.clear()  # Nothing is converted.
    return (*_holding_faults(holdings, day), *_rate_faults(sorted(currencies), rates, day))


def _holding_faults(holdings: Iterable[Holding], day: date) -> Iterator[Finding]:
    """Yield what is wrong with holdings."""
    for holding in holdings:
        symbol = holding.symbol
        if not holding.quantity:
            yield Finding("info", "zero_quantity", symbol, f"The holding of {symbol} is zero: left out.")
        elif holding.price is None:
            text = f"{symbol} has no price: the portfolio can't be valued."
            yield Finding("error", "missing_price", symbol, text)
        elif holding.price_day is not None and (day - holding.price_day).days > STALE_AFTER_DAYS:
            text = f"The last price of {symbol} is {(day - holding.price_day).days} days old: used as it is."
            yield Finding("warning", "stale_price", symbol, text)


def _rate_faults(currencies: Iterable[str], rates: Rates, day: date) -> Iterator[Finding]:
    """Yield what is wrong with the rates of currencies."""
    for currency in currencies:
        rate = rates.at(currency, day)
        if rate is None:
            text = (
                f"There is no {currency} rate of the last {CARRY_DAYS} days: the portfolio can't be valued."
            )
            yield Finding("error", "missing_rate", currency, text)
        elif rate.day != day:
            text = f"There is no {currency} rate for {day}: that of {rate.day} was used."
            yield Finding("warning", "carried_rate", currency, text)
