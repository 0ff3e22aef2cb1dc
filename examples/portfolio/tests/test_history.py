"""Performance and risk: computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from agent_core.agents import AgentError
from tokenwire_portfolio.history import (
    Book,
    Market,
    Transaction,
    compare,
    linked,
    max_drawdown,
    measure_performance,
    measure_risk,
    value_at_risk,
    volatility,
)
from tokenwire_portfolio.quarter import Quarter
from tokenwire_portfolio.records import Holding, Portfolio
from tokenwire_portfolio.valuation import Point, Rates, Series

Q3 = Quarter(2026, 3)
DAYS = [date(2026, 6, 30), date(2026, 7, 1), date(2026, 7, 2), date(2026, 7, 3), date(2026, 10, 1)]
FUND = Portfolio("HAND", "By Hand", "USD", "INDEX")


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


def book() -> Book:
    """Today 12 shares and 940 dollars.

    On 30 June there were 10 shares and 500 dollars. On 1 July came 500 in cash, on 2 July 2 shares
    were bought at 105 with a fee of 4, on 3 July a dividend of 24 came, on 1 October 130 in cash.
    """
    share = Holding("SHARE", "Share", "equity", "USD", 1, Decimal(12), None, None)
    cash = Holding("CASH.USD", "Cash", "cash", "USD", 1, Decimal(940), Decimal(1), None)
    moves = [
        (DAYS[1], "deposit", "", "0", "500"),
        (DAYS[2], "buy", "SHARE", "2", "-210"),
        (DAYS[2], "fee", "", "0", "-4"),
        (DAYS[3], "dividend", "SHARE", "0", "24"),
        (DAYS[4], "deposit", "", "0", "130"),
    ]
    transactions = tuple(
        Transaction(day, kind, symbol, Decimal(quantity), "USD", Decimal(amount))
        for day, kind, symbol, quantity, amount in moves
    )
    return Book(FUND, (share, cash), transactions)


def market(*prices: str) -> Market:
    points = [Point(day, Decimal(price)) for day, price in zip(DAYS, prices, strict=False)]
    euro = Series([Point(DAYS[0], Decimal("1.20")), Point(DAYS[3], Decimal("1.26"))])
    return Market({"SHARE": Series(points)}, Rates({"EUR": euro}, {"USD": 2, "EUR": 2}))


def test_a_quarter_by_hand() -> None:
    """Flows count at the end of their day, fees lower the return, and what came later is taken back.

    30 June: 10 x 100 + 500 = 1,500. 1 July: 10 x 103 + 1,000 = 2,030; less 500 is 1,530: + 2 %.
    2 July: 12 x 105 + 786 = 2,046 on 2,030. 3 July: 12 x 104 + 810 = 2,058 on 2,046.
    """
    performance = measure_performance(book(), market("100", "103", "105", "104"), Q3, DAYS)
    assert (performance.start_day, performance.end_day) == (DAYS[0], DAYS[3])
    assert [day.value for day in performance.days] == [2030, 2046, 2058]
    assert [day.flow for day in performance.days] == [500, 0, 0]
    assert performance.start_value == 1500
    assert [performance.flows, performance.income, performance.costs] == [500, 24, -4]
    by_hand = Decimal(1530) / 1500 * Decimal(2046) / 2030 * Decimal(2058) / 2046 - 1
    assert performance.time_weighted_return == pytest.approx(by_hand, abs=Decimal("1e-26"))

    risk = measure_risk(performance)
    assert (risk.largest_symbol, risk.largest_weight) == ("SHARE", Decimal(1248) / 2058)
    assert risk.concentration == risk.largest_weight**2
    assert risk.max_drawdown == 0


def test_a_benchmark_is_converted() -> None:
    """An index in euros from 1,000 to 1,010 is + 1 %; the euro gained 5 %: + 6.05 % in dollars."""
    prices = market("100", "103", "105", "104")
    performance = measure_performance(book(), prices, Q3, DAYS)
    levels = Series([Point(DAYS[0], Decimal(1000)), Point(DAYS[3], Decimal(1010))])
    comparison = compare(performance, levels, "EUR", prices.rates)
    assert comparison.benchmark_return == Decimal("0.0605")
    assert comparison.difference == performance.time_weighted_return - Decimal("0.0605")


def test_what_has_no_price_stops_the_report() -> None:
    """A return over a gap would be a guess: the user is told what is missing, and on which day."""
    nothing = Market({}, Rates({}, {"USD": 2}))
    with pytest.raises(AgentError) as caught:
        measure_performance(book(), nothing, Q3, DAYS)
    assert caught.value.code == "FAILED_PRECONDITION"
    assert caught.value.details == {"portfolio": "HAND", "day": "2026-06-30"}


def test_a_benchmark_without_levels_stops_the_report() -> None:
    """The same for the index."""
    prices = market("100", "103", "105", "104")
    performance = measure_performance(book(), prices, Q3, DAYS)
    with pytest.raises(AgentError, match="can't be valued"):
        compare(performance, Series([]), "EUR", prices.rates)


def test_a_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    """+ 10 %, - 20 %, + 50 %, - 10 %: the second day fell from 1.10 to 0.88, a fifth."""
    assert max_drawdown(linked(decimals("0.1", "-0.2", "0.5", "-0.1"))) == Decimal("0.2")


def test_a_fall_on_the_first_day_counts() -> None:
    """The quarter starts from 1: a loss at once is a drawdown."""
    assert max_drawdown(linked(decimals("-0.25", "0.1"))) == Decimal("0.25")


def test_volatility_is_a_sample_deviation_of_a_year() -> None:
    """0.01, 0.03: the sample variance is 0.0002, times 252 is 0.0504."""
    assert volatility(decimals("0.01", "0.03")) == Decimal("0.0504").sqrt()
    assert volatility(decimals("0.01")) == 0


@pytest.mark.parametrize(
    ("count", "loss"),
    [(1, "1"), (20, "20"), (21, "20"), (40, "39"), (41, "39")],
)
def test_value_at_risk_is_the_worst_of_twenty(count: int, loss: str) -> None:
    """Of losses 1 to n it is the largest for up to 20 days, the second largest for up to 40, and so on."""
    assert value_at_risk([Decimal(-number) for number in range(1, count + 1)]) == Decimal(loss)


def test_value_at_risk_is_no_gain() -> None:
    """When even the bad days gain, nothing is at risk."""
    assert value_at_risk(decimals("0.01", "0.02")) == 0
