"""Values of holdings, and what is wrong with them: computed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from tokenwire_portfolio.records import Holding, Portfolio
from tokenwire_portfolio.valuation import (
    CARRY_DAYS,
    STALE_AFTER_DAYS,
    Point,
    Rates,
    Series,
    find_faults,
    value_holding,
    value_portfolio,
)

DAY = date(2026, 9, 30)
FUND = Portfolio("HAND", "By Hand", "EUR", "TWGB")


def rates(age_days: int = 0) -> Rates:
    """EUR 1.25, GBP 1.50, JPY 0.0064 dollars; the pound's rate is some days old."""
    days = {"EUR": 0, "GBP": age_days, "JPY": 0}
    values = {"EUR": "1.25", "GBP": "1.50", "JPY": "0.0064"}
    dollars = {
        name: Series([Point(DAY - timedelta(days=days[name]), Decimal(values[name]))]) for name in values
    }
    return Rates(dollars, {"EUR": 2, "GBP": 2, "JPY": 0, "USD": 2})


def holding(quantity: str, price: str | None, currency: str, per: int = 1) -> Holding:
    value = None if price is None else Decimal(price)
    return Holding("X", "X", "equity", currency, per, Decimal(quantity), value, DAY)


@pytest.mark.parametrize(
    ("held", "local", "value"),
    [
        # 3 x 10.115 = 30.345 -> 30.35, away from zero; the base currency needs no rate
        (holding("3", "10.115", "EUR"), "30.35", "30.35"),
        # 100,000 of face at 98.765 for 100 = 98,765.00 GBP; x 1.50 / 1.25 = 118,518.00
        (holding("100000", "98.765", "GBP", 100), "98765.00", "118518.00"),
        # 7 x 123.5 = 864.5 -> 865 yen, which has no minor unit; x 0.0064 / 1.25 = 4.4288
        (holding("7", "123.5", "JPY"), "865", "4.43"),
        # 2.5 x 0.33 = 0.825 -> 0.83 USD; / 1.25 = 0.664
        (holding("2.5", "0.33", "USD"), "0.83", "0.66"),
        (holding("-3", "10.115", "EUR"), "-30.35", "-30.35"),
    ],
)
def test_a_holding_is_rounded_in_both_currencies(held: Holding, local: str, value: str) -> None:
    """First in its own currency, then in the base currency, each time half away from zero."""
    position = value_holding(held, "EUR", rates(), DAY)
    assert position is not None
    assert (str(position.local_value), str(position.value)) == (local, value)


def test_a_net_asset_value_is_the_sum_of_what_is_shown() -> None:
    """30.35 + 118,518.00 + 0.66 = 118,549.01, and a holding of zero is no position."""
    held = [
        holding("3", "10.115", "EUR"),
        holding("100000", "98.765", "GBP", 100),
        holding("2.5", "0.33", "USD"),
        holding("0", "99", "EUR"),
    ]
    nav = value_portfolio(FUND, held, rates(), DAY)
    assert nav.total == Decimal("118549.01")
    assert len(nav.positions) == 3


@pytest.mark.parametrize(
    ("age_days", "kind", "valued"),
    [
        (0, None, True),
        (1, "carried_rate", True),
        (CARRY_DAYS, "carried_rate", True),
        (CARRY_DAYS + 1, "missing_rate", False),
    ],
)
def test_a_missing_rate_is_carried_for_a_week(age_days: int, kind: str | None, *, valued: bool) -> None:
    """The last rate counts for 7 days and is reported; after that there is no value at all."""
    held = [holding("1", "1", "EUR"), holding("1", "1", "GBP")]
    assert (value_portfolio(FUND, held, rates(age_days), DAY).total is not None) is valued
    findings = find_faults(FUND, held, rates(age_days), DAY)
    assert [finding.kind for finding in findings] == ([kind] if kind else [])
    assert [finding.severity == "error" for finding in findings] == ([not valued] if kind else [])


def test_rates_that_nothing_needs_are_not_reported() -> None:
    """A portfolio in its own currency only converts nothing, and lacks nothing."""
    pounds = replace(FUND, base_currency="GBP")
    held = [holding("1", "1", "GBP"), holding("0", "1", "EUR")]
    assert [finding.kind for finding in find_faults(pounds, held, rates(30), DAY)] == ["zero_quantity"]
    assert value_portfolio(pounds, held, rates(30), DAY).total == 1


@pytest.mark.parametrize(("age_days", "stale"), [(STALE_AFTER_DAYS, False), (STALE_AFTER_DAYS + 1, True)])
def test_an_old_price_is_used_and_reported(age_days: int, *, stale: bool) -> None:
    """More than 5 days make a price stale; its value counts all the same."""
    held = [replace(holding("2", "3", "EUR"), price_day=DAY - timedelta(days=age_days))]
    assert value_portfolio(FUND, held, rates(), DAY).total == 6
    kinds = [finding.kind for finding in find_faults(FUND, held, rates(), DAY)]
    assert kinds == (["stale_price"] if stale else [])


def test_without_a_price_there_is_no_value() -> None:
    """A portfolio with something that has no price has no net asset value; the finding is an error."""
    held = [holding("1", None, "EUR"), holding("1", "1", "EUR")]
    assert value_portfolio(FUND, held, rates(), DAY).total is None
    (finding,) = find_faults(FUND, held, rates(), DAY)
    assert (finding.severity, finding.kind) == ("error", "missing_price")


def test_a_series_gives_the_last_number_until_a_day() -> None:
    """Before the first there is none."""
    series = Series([Point(DAY, Decimal(1)), Point(DAY + timedelta(days=2), Decimal(2))])
    found = [series.at(DAY + timedelta(days=days)) for days in (-1, 0, 1, 2, 3)]
    assert [point and point.value for point in found] == [None, 1, 1, 2, 2]
