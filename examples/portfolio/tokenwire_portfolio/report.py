"""The workflow "Generate quarterly performance report"."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from typing import Final

from agent_core.agents import AgentEvent
from tokenwire_portfolio import queries
from tokenwire_portfolio.asking import Desk
from tokenwire_portfolio.history import (
    Market,
    compare,
    measure_performance,
    measure_risk,
    quarter_days,
)
from tokenwire_portfolio.names import choose_portfolios
from tokenwire_portfolio.narration import Narrator, Teller
from tokenwire_portfolio.progress import Meter
from tokenwire_portfolio.quarter import Quarter
from tokenwire_portfolio.records import Portfolio
from tokenwire_portfolio.sections import (
    Figures,
    conclusion,
    executive_summary,
    performance_analysis,
    risk_metrics,
)

_STEPS: Final = 6
"""Portfolios, market data, and the four sections."""

_STEPS_EACH: Final = 2
"""Of each portfolio: fetch, calculate."""


class QuarterlyReport:
    """One report: each section is told as soon as its figures are computed, before the next is begun.

    Args:
        desk: Access to the database.
        message: What the user said. It may name portfolios and a quarter.
        narrator: Who words the sections; None for the template.
    """

    def __init__(self, desk: Desk, message: str, narrator: Narrator | None) -> None:
        self._desk = desk
        self._message = message
        self._teller = Teller(narrator)
        self._meter = Meter(_STEPS)
        self._portfolios: Sequence[Portfolio] = ()
        self._days: Sequence[date] = ()
        self._quarter: Quarter
        self._market: Market
        self._figures: Figures

    async def events(self) -> AsyncGenerator[AgentEvent | str]:
        """Yield the report, once.

        Raises:
            AgentError: NOT_FOUND, when the message names a portfolio or a quarter that is not there;
                FAILED_PRECONDITION, when a price or a rate is missing for too long.
        """
        for stage in (
            self._gather,
            self._measure,
            self._executive_summary,
            self._performance_analysis,
            self._risk_metrics,
            self._conclusion,
        ):
            async with aclosing(stage()) as events:
                async for event in events:
                    yield event

    async def _gather(self) -> AsyncGenerator[AgentEvent | str]:
        """Fetch what all portfolios share."""
        yield self._meter.step("Fetching portfolios…", "portfolios")
        listing = self._desk.ask(queries.list_portfolios())
        async for event in listing:
            yield event
        self._portfolios = choose_portfolios(self._message, listing.result)
        self._meter.extend(_STEPS + _STEPS_EACH * len(self._portfolios))
        trading_days = self._desk.ask(queries.trading_days())
        async for event in trading_days:
            yield event
        self._days = trading_days.result
        self._quarter = queries.choose_quarter(self._message, self._days)

        yield self._meter.step(f"Fetching prices and rates… {self._quarter}", "market")
        market = self._desk.ask(queries.market(self._quarter.last))
        async for event in market:
            yield event
        self._market = market.result

    async def _measure(self) -> AsyncGenerator[AgentEvent | str]:
        """Measure each portfolio's performance."""
        start_day, _ = quarter_days(self._quarter, self._days)
        performances = []
        for number, portfolio in enumerate(self._portfolios, 1):
            which = f"{portfolio.name} ({number} of {len(self._portfolios)})"
            yield self._meter.step(f"Fetching holdings… {which}", "fetch")
            book = self._desk.ask(queries.book_of(portfolio, start_day))
            async for event in book:
                yield event
            yield self._meter.step(f"Calculating… {which}", "calculate")
            given = book.result, self._market, self._quarter, self._days
            performances.append(await self._desk.database.run(measure_performance, *given))
        self._figures = Figures(self._quarter, self._market.rates, tuple(performances))

    async def _executive_summary(self) -> AsyncGenerator[AgentEvent | str]:
        yield self._meter.step("Writing the Executive Summary…", "summary")
        async with aclosing(self._teller.tell(executive_summary(self._figures))) as words:
            async for word in words:
                yield word

    async def _performance_analysis(self) -> AsyncGenerator[AgentEvent | str]:
        """Compare each portfolio with its benchmark, and tell."""
        yield self._meter.step("Comparing with benchmarks…", "performance")
        performances = self._figures.performances
        span = (performances[0].start_day, performances[0].end_day)
        levels = {}
        for symbol in dict.fromkeys(portfolio.benchmark for portfolio in self._portfolios):
            benchmark = self._desk.ask(queries.benchmark_levels(symbol, span))
            async for event in benchmark:
                yield event
            levels[symbol] = benchmark.result
        comparisons = []
        for performance in performances:
            currency, series = levels[performance.portfolio.benchmark]
            comparisons.append(compare(performance, series, currency, self._market.rates))
        self._figures = replace(self._figures, comparisons=tuple(comparisons))
        async with aclosing(self._teller.tell(performance_analysis(self._figures))) as words:
            async for word in words:
                yield word

    async def _risk_metrics(self) -> AsyncGenerator[AgentEvent | str]:
        """Measure each portfolio's risk, and tell."""
        yield self._meter.step("Measuring risk…", "risk")
        limits = self._desk.ask(queries.position_limits())
        async for event in limits:
            yield event
        risks = tuple(measure_risk(performance) for performance in self._figures.performances)
        self._figures = replace(self._figures, risks=risks, limits=limits.result)
        async with aclosing(self._teller.tell(risk_metrics(self._figures))) as words:
            async for word in words:
                yield word

    async def _conclusion(self) -> AsyncGenerator[AgentEvent | str]:
        yield self._meter.step("Writing the Conclusion…", "conclusion")
        async with aclosing(self._teller.tell(conclusion(self._figures))) as words:
            async for word in words:
                yield word
        yield self._meter.end()
