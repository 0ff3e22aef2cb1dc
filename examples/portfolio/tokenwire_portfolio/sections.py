"""The report's sections: what each says, made from computed figures and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from tokenwire_portfolio.quarter import Quarter
from tokenwire_portfolio.records import Comparison, Performance, Risk
from tokenwire_portfolio.text import counted, long_day, money, percent, table
from tokenwire_portfolio.valuation import PIVOT, Rates

Title: TypeAlias = Literal["Executive Summary", "Performance Analysis", "Risk Metrics", "Conclusion"]

CONFIDENCE: Final = "95 %"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the report. A narrator words it; heading and table are the report's own."""

    title: Title
    facts: Mapping[str, str]
    """The figures as they are shown, by what they are."""
    draft: str
    """The text that the template has for them: whole sentences, ending in a line break."""
    table: str = ""
    """A Markdown table, told after the text; empty for none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was computed so far. The sequences run in step."""

    quarter: Quarter
    rates: Rates
    performances: Sequence[Performance]
    comparisons: Sequence[Comparison] = ()
    risks: Sequence[Risk] = ()
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    """The largest weight that one position may have, by portfolio code."""

    def over_limit(self) -> list[tuple[Performance, Risk, Decimal]]:
        """Return the portfolios whose largest position weighs more than it may, with the limit."""
        return [
            (performance, risk, limit)
            for performance, risk in zip(self.performances, self.risks, strict=True)
            if (limit := self.limits.get(performance.portfolio.code)) is not None
            and risk.largest_weight > limit
        ]

    def ahead(self) -> list[Performance]:
        """Return the portfolios that did better than their benchmark."""
        pairs = zip(self.performances, self.comparisons, strict=True)
        return [performance for performance, comparison in pairs if comparison.difference > 0]

    def amount(self, value: Decimal, currency: str) -> str:
        """Return an amount with its currency."""
        return f"{currency} {money(value, self.rates.minor_digits[currency])}"


def executive_summary(figures: Figures) -> Section:
    """Return the first section: what the whole is worth, and who did best and worst."""
    performances = figures.performances
    ranked = sorted(performances, key=lambda each: each.time_weighted_return, reverse=True)
    best, worst = ranked[0], ranked[-1]
    gained = sum(performance.time_weighted_return > 0 for performance in performances)
    start, end = long_day(best.start_day), long_day(best.end_day)
    facts = {
        "quarter": str(figures.quarter),
        "from": start,
        "to": end,
        "portfolios": str(len(performances)),
        "portfolios with a gain": str(gained),
        f"return of {best.portfolio.name} (best)": percent(best.time_weighted_return, signed=True),
        f"return of {worst.portfolio.name} (worst)": percent(worst.time_weighted_return, signed=True),
    }
    total = total_value(figures)
    if total is not None:
        facts["total value at the end"] = figures.amount(total, PIVOT)
    return Section("Executive Summary", facts, _summary_text(facts, figures, best, worst))


def total_value(figures: Figures) -> Decimal | None:
    """Return what all portfolios were worth at the end in US dollars, or None without a rate."""
    total = Decimal(0)
    for performance in figures.performances:
        base, day = performance.portfolio.base_currency, performance.end_day
        value = figures.rates.convert(performance.end_value, base, PIVOT, day)
        if value is None:
            return None
        total += value
    return total


def _summary_text(facts: Mapping[str, str], figures: Figures, best: Performance, worst: Performance) -> str:
    count = len(figures.performances)
    text = f"This report covers {counted(count, 'portfolio')} in {facts['quarter']}, "
    text += f"from the close of {facts['from']} to the close of {facts['to']}. "
    if "total value at the end" in facts:
        text += f"The value at the end was {facts['total value at the end']}. "
    best_return = percent(best.time_weighted_return, signed=True)
    if count == 1:
        return text + f"The time-weighted return of {best.portfolio.name} after costs was {best_return}.\n"
    text += f"{facts['portfolios with a gain']} of {count} made a gain. "
    text += f"{best.portfolio.name} did best with a time-weighted return of {best_return} after costs, "
    worst_return = percent(worst.time_weighted_return, signed=True)
    return text + f"{worst.portfolio.name} worst with {worst_return}.\n"


def performance_analysis(figures: Figures) -> Section:
    """Return the second section: each portfolio's return beside its benchmark's, and what moved its value."""
    facts, sentences, rows = {}, [], []
    for performance, comparison in zip(figures.performances, figures.comparisons, strict=True):
        portfolio = performance.portfolio
        own = percent(performance.time_weighted_return, signed=True)
        benchmark = percent(comparison.benchmark_return, signed=True)
        difference = percent(comparison.difference, signed=True)
        facts[f"return of {portfolio.name}"] = own
        facts[f"benchmark of {portfolio.name} in {portfolio.base_currency}"] = benchmark
        facts[f"difference of {portfolio.name}, in percentage points"] = difference
        where = "ahead of" if comparison.difference > 0 else "behind"
        sentences.append(
            f"{portfolio.name} returned {own}, {where} its benchmark's {benchmark} "
            f"in {portfolio.base_currency}."
        )
        digits = figures.rates.minor_digits[portfolio.base_currency]
        moved = (
            performance.start_value,
            performance.flows,
            performance.income,
            performance.costs,
            performance.end_value,
        )
        amounts = [money(value, digits) for value in moved]
        rows.append((portfolio.name, portfolio.base_currency, *amounts, own, benchmark, difference))
    columns = ("Start", "Flows", "Income", "Costs", "End", "Return", "Benchmark", "Difference")
    text = "Returns are time-weighted and after costs; benchmarks are converted to the base currency. "
    text += " ".join(sentences) + "\n"
    shown = table(("Portfolio", "Currency", *columns), rows, left=2)
    return Section("Performance Analysis", facts, text, shown)


def risk_metrics(figures: Figures) -> Section:
    """Return the third section: volatility, drawdown, value at risk and concentration."""
    facts: dict[str, str] = {}
    rows = []
    for performance, risk in zip(figures.performances, figures.risks, strict=True):
        portfolio = performance.portfolio
        limit = figures.limits.get(portfolio.code)
        at_risk = figures.amount(risk.value_at_risk_amount, portfolio.base_currency)
        shown = {
            "Volatility": percent(risk.volatility),
            "Max drawdown": percent(risk.max_drawdown),
            f"VaR {CONFIDENCE}": percent(risk.value_at_risk),
            f"VaR {CONFIDENCE}, amount": at_risk,
            "Largest": risk.largest_symbol or "none",
            "Weight": percent(risk.largest_weight),
            "Limit": "none" if limit is None else percent(limit),
            "HHI": str(money(risk.concentration, 4)),
        }
        facts |= {f"{name} of {portfolio.name}": value for name, value in shown.items()}
        rows.append((portfolio.name, shown))
    header = ("Portfolio", *rows[0][1])
    cells = [(name, *shown.values()) for name, shown in rows]
    return Section("Risk Metrics", facts, _risk_text(figures), table(header, cells))


def _risk_text(figures: Figures) -> str:
    pairs = list(zip(figures.performances, figures.risks, strict=True))
    wildest, wild = max(pairs, key=lambda pair: pair[1].volatility)
    deepest, deep = max(pairs, key=lambda pair: pair[1].max_drawdown)
    text = f"Over {len(wildest.days)} trading days the highest yearly volatility was "
    text += f"{percent(wild.volatility)} ({wildest.portfolio.name}), the deepest drawdown "
    text += f"{percent(deep.max_drawdown)} ({deepest.portfolio.name}). "
    text += f"The value at risk is historical, for one day, at {CONFIDENCE}. "
    for performance, risk, limit in figures.over_limit():
        text += f"{risk.largest_symbol} is {percent(risk.largest_weight)} of {performance.portfolio.name}, "
        text += f"above its limit of {percent(limit)}. "
    return text.rstrip() + "\n" if figures.over_limit() else text + "No position is above its limit.\n"


def conclusion(figures: Figures) -> Section:
    """Return the last section: what the others come to, and what was wrong with the data."""
    ahead, over = figures.ahead(), figures.over_limit()
    findings = [
        f"{performance.portfolio.name}: {finding.message}"
        for performance in figures.performances
        for finding in performance.findings
    ]
    count = len(figures.performances)
    facts = {
        "quarter": str(figures.quarter),
        "portfolios": str(count),
        "portfolios ahead of their benchmark": str(len(ahead)),
        "portfolios with a position above its limit": str(len(over)),
        "data findings": str(len(findings)),
    }
    text = f"Ahead of the benchmark in {figures.quarter}: {len(ahead)} of {counted(count, 'portfolio')}. "
    if over:
        names = ", ".join(performance.portfolio.name for performance, _, _ in over)
        text += f"To be brought below its limit is the largest position of: {names}. "
    else:
        text += "All positions are within their limits. "
    if not findings:
        return Section("Conclusion", facts, text + "The data of the last day was complete.\n")
    text += f"Validation of the last day has {counted(len(findings), 'finding')}:\n\n"
    return Section("Conclusion", facts, text + "".join(f"- {finding}\n" for finding in findings))
