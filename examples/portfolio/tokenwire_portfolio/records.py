"""What the portfolio queries return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias

from tokenwire_portfolio.quarter import Quarter

FindingKind: TypeAlias = Literal[
    "zero_quantity", "stale_price", "missing_price", "carried_rate", "missing_rate"
]
Severity: TypeAlias = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A portfolio."""

    code: str
    """Four letters."""
    name: str
    base_currency: str
    """The currency that it is valued in."""
    benchmark: str
    """The symbol of the index that it is compared with."""


@dataclass(frozen=True, slots=True)
class Holding:
    """How much of an instrument a portfolio holds, and the instrument's last price."""

    symbol: str
    name: str
    kind: str
    """equity, bond, fund or cash."""
    currency: str
    price_per: int
    """How many units the price is for: 100 of face for bonds, otherwise 1."""
    quantity: Decimal
    price: Decimal | None
    """In the instrument's currency; None when there is none. Cash has the price 1."""
    price_day: date | None
    """When the price was made; None for cash."""


@dataclass(frozen=True, slots=True)
class Position:
    """A holding with its value."""

    holding: Holding
    local_value: Decimal
    """In the instrument's currency, rounded to its minor unit."""
    value: Decimal
    """In the portfolio's base currency, rounded to its minor unit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that validation found."""

    severity: Severity
    """error: the portfolio can't be valued."""
    kind: FindingKind
    subject: str
    """The instrument's symbol, or the currency."""
    message: str
    """What it is and what was done, fit for a user."""


@dataclass(frozen=True, slots=True)
class Nav:
    """A portfolio's net asset value."""

    portfolio: Portfolio
    day: date
    total: Decimal | None
    """In the base currency, rounded to its minor unit; None when a holding can't be valued."""
    positions: tuple[Position, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DayReturn:
    """One day of a portfolio."""

    day: date
    value: Decimal
    """The net asset value at the day's end, flows included."""
    flow: Decimal
    """What was paid in (positive) or out that day."""
    growth: Decimal
    """The day's return as a fraction: (value - flow) / value of the day before - 1."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What a portfolio made of a quarter, after costs. Money is in the base currency."""

    portfolio: Portfolio
    quarter: Quarter
    start_day: date
    """The last trading day before the quarter."""
    end_day: date
    """The quarter's last trading day."""
    start_value: Decimal
    end_value: Decimal
    flows: Decimal
    """Deposits less withdrawals."""
    income: Decimal
    """Dividends and coupons."""
    costs: Decimal
    """Fees and commissions, as a negative number."""
    time_weighted_return: Decimal
    """A fraction: the daily returns, linked."""
    days: tuple[DayReturn, ...]
    closing: tuple[Position, ...]
    """The positions at the quarter's end."""
    findings: tuple[Finding, ...]
    """What validation found at the quarter's end."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A portfolio beside its benchmark, both in the base currency. All are fractions."""

    time_weighted_return: Decimal
    benchmark_return: Decimal
    difference: Decimal


@dataclass(frozen=True, slots=True)
class Risk:
    """How a portfolio's quarter went up and down. All but the amount and the symbol are fractions."""

    volatility: Decimal
    """The daily returns' sample standard deviation, times the square root of 252."""
    max_drawdown: Decimal
    """The deepest fall of the linked returns from a peak, as a positive number."""
    value_at_risk: Decimal
    """Historical, 95 %, one day: the loss of the ceil(n / 20)-th worst of n days; 0 if that was no loss."""
    value_at_risk_amount: Decimal
    """The same share of the value at the quarter's end."""
    largest_symbol: str
    """The largest position other than cash; empty when there is none."""
    largest_weight: Decimal
    concentration: Decimal
    """Herfindahl index: the sum of the squared weights of all positions other than cash."""


@dataclass(frozen=True, slots=True)
class QuarterReview:
    """A portfolio's quarter, as one answer. The fields are those of `Performance`, without the days."""

    portfolio: Portfolio
    quarter: str
    start_day: date
    end_day: date
    start_value: Decimal
    end_value: Decimal
    flows: Decimal
    income: Decimal
    costs: Decimal
    comparison: Comparison
    risk: Risk
    findings: tuple[Finding, ...]
