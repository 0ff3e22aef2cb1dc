"""The workflow "Calculate NAV for all portfolios"."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from agent_core.agents import AgentEvent, Custom
from tokenwire_portfolio import queries
from tokenwire_portfolio.asking import Desk
from tokenwire_portfolio.names import choose_portfolios
from tokenwire_portfolio.progress import Meter
from tokenwire_portfolio.records import Finding, Nav
from tokenwire_portfolio.text import counted, long_day, speak, table
from tokenwire_portfolio.valuation import find_faults, value_portfolio

FINDING: Final = "validation_finding"
"""The name of the event that tells a finding."""

_STEPS: Final = 3
"""Of each portfolio: fetch, calculate, validate."""


async def calculate_navs(desk: Desk, message: str) -> AsyncGenerator[AgentEvent | str]:
    """Yield the valuation of the portfolios that a message is about.

    Raises:
        AgentError: NOT_FOUND, when it names one that is not there.
    """
    meter = Meter(_STEPS)
    yield meter.step("Fetching portfolios…", "portfolios")
    listing = desk.ask(queries.list_portfolios())
    async for event in listing:
        yield event
    portfolios = choose_portfolios(message, listing.result)
    meter.extend(1 + _STEPS * len(portfolios))
    last_day = desk.ask(queries.last_day())
    async for event in last_day:
        yield event
    day = last_day.result

    navs = []
    for number, portfolio in enumerate(portfolios, 1):
        which = f"{portfolio.name} ({number} of {len(portfolios)})"
        yield meter.step(f"Fetching holdings… {which}", "fetch")
        holdings = desk.ask(queries.holdings_of(portfolio, day))
        async for event in holdings:
            yield event
        rates = desk.ask(queries.rates_of_day(day))
        async for event in rates:
            yield event
        held = holdings.result, rates.result, day

        yield meter.step(f"Calculating… {which}", "calculate")
        nav = await desk.database.run(value_portfolio, portfolio, *held)

        yield meter.step(f"Validating… {which}", "validate")
        findings = await desk.database.run(find_faults, portfolio, *held)
        for finding in findings:
            yield Custom(FINDING, as_data(portfolio.code, finding))
        navs.append(replace(nav, findings=findings))

    yield meter.end()
    async with aclosing(speak(describe(navs))) as words:
        async for word in words:
            yield word


def as_data(portfolio: str, finding: Finding) -> dict[str, str]:
    """Return a finding as the data of its event."""
    return {
        "portfolio": portfolio,
        "severity": finding.severity,
        "kind": finding.kind,
        "subject": finding.subject,
        "message": finding.message,
    }


def describe(navs: Sequence[Nav]) -> str:
    """Return the answer: a table of the values, and what validation found.

    Args:
        navs: At least one.
    """
    rows = [
        (
            nav.portfolio.name,
            nav.portfolio.base_currency,
            "not valued" if nav.total is None else f"{nav.total:,}",
            str(len(nav.positions)),
            str(len(nav.findings)),
        )
        for nav in navs
    ]
    heading = f"Net asset value of {counted(len(navs), 'portfolio')} on {long_day(navs[0].day)}:\n\n"
    values = table(("Portfolio", "Currency", "Net asset value", "Positions", "Findings"), rows, left=2)
    return heading + values + "\n" + describe_findings(navs)


def describe_findings(navs: Sequence[Nav]) -> str:
    """Return what validation found, one line each."""
    lines = [
        f"- {nav.portfolio.name} ({finding.severity}): {finding.message}\n"
        for nav in navs
        for finding in nav.findings
    ]
    if not lines:
        return "Validation found nothing wrong.\n"
    return f"Validation has {counted(len(lines), 'finding')}:\n\n{''.join(lines)}"
