"""What a message asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents import AgentError
from tokenwire_portfolio.names import choose_portfolios, find_task, match_portfolio
from tokenwire_portfolio.records import Portfolio

KNOWN = (
    Portfolio("PACG", "Pacific Growth", "USD", "TWGB"),
    Portfolio("THAM", "Thames Value", "GBP", "TWGB"),
)


@pytest.mark.parametrize(
    ("message", "task"),
    [
        ("Calculate NAV for all portfolios", "nav"),
        ("net asset values, please", "nav"),
        ("Generate quarterly performance report", "report"),
        ("report on the portfolio Thames Value", "report"),
        ("How was the performance of THAM?", "report"),
        ("list portfolios", "list"),
        ("Which portfolios are there?", "list"),
        ("hello", "help"),
        ("weather report", "help"),
        ("navigate to the list", "help"),
        ("DROP TABLE portfolios; --", "help"),
        ("", "help"),
    ],
)
def test_a_task_is_told_by_its_words(message: str, task: str) -> None:
    """Whole words decide, in any case."""
    assert find_task(message) == task


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        ("Calculate NAV for all portfolios", "PACG THAM"),
        ("Calculate NAV", "PACG THAM"),
        ("NAV for the portfolios as of today", "PACG THAM"),
        ("NAV of every portfolio", "PACG THAM"),
        ("Report for the last quarter, please", "PACG THAM"),
        ("Report for Q3 2026", "PACG THAM"),
        ("NAV for THAMES  value", "THAM"),
        ("NAV for tham", "THAM"),
        ("NAV of “Thames Value” and Pacific Growth", "PACG THAM"),
    ],
)
def test_a_message_is_about_what_it_names(message: str, codes: str) -> None:
    """Names and codes are found as whole words; without any, it is about all."""
    assert " ".join(portfolio.code for portfolio in choose_portfolios(message, KNOWN)) == codes


@pytest.mark.parametrize(
    "message",
    [
        "NAV for Atlantis",
        "NAV for the portfolio Atlantis",
        "NAV of the Thames",
        "report for x'; DROP TABLE holdings",
    ],
)
def test_an_unknown_name_is_not_found(message: str) -> None:
    """The error repeats the name in plain words and tells the known ones."""
    with pytest.raises(AgentError) as caught:
        choose_portfolios(message, KNOWN)
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.details == {"known": "Pacific Growth, Thames Value"}
    assert "'" not in caught.value.message


def test_a_long_name_is_cut() -> None:
    """An error stays short, however long the message."""
    with pytest.raises(AgentError) as caught:
        choose_portfolios("NAV for " + "x" * 10_000, KNOWN)
    assert len(caught.value.message) < 200


@given(st.text())
def test_a_name_is_matched_or_not_found(text: str) -> None:
    """Any text is either a portfolio or a NOT_FOUND."""
    code = ""
    try:
        assert match_portfolio(text, KNOWN) in KNOWN
    except AgentError as error:
        code = error.code
    assert code in {"", "NOT_FOUND"}
