"""What a message asks for: told by its words, and matched against the names that there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from agent_core.agents import AgentError
from tokenwire_portfolio.records import Portfolio

Task: TypeAlias = Literal["nav", "report", "list", "help"]

MAX_NAME: Final = 60
"""Characters of an unknown name that are repeated."""

_WORD: Final = re.compile(r"\w+")
_NAV: Final = re.compile(r" navs? | net asset values? ")
_REPORTED: Final = frozenset({"quarter", "quarters", "quarterly", "performance", "portfolio", "portfolios"})
_LISTED: Final = frozenset({"list", "show", "name", "which", "what"})

_ABOUT: Final = frozenset({"for", "of"})
_EVERYTHING: Final = frozenset({"all", "any", "each", "every", "my", "our", "portfolio", "portfolios"})
_NO_SUBJECT: Final = _ABOUT | {
    *("the", "this", "last", "latest", "past", "previous", "full", "current", "quarter"),
    *("as", "on", "today", "now", "please"),
}
_TIME: Final = re.compile(r"q[1-4]|\d{4}|\d{4}q[1-4]|q[1-4]\d{4}")


def find_task(message: str) -> Task:
    """Return what a message asks for; `help` for anything that is not known."""
    words = _words(message)
    present = set(words)
    if _NAV.search(_spaced(words)):
        return "nav"
    if "report" in present and present & _REPORTED:
        return "report"
    if "performance" in present and present & (_ABOUT | _REPORTED - {"performance"}):
        return "report"
    return "list" if "portfolios" in present and present & _LISTED else "help"


def choose_portfolios(message: str, known: Sequence[Portfolio]) -> tuple[Portfolio, ...]:
    """Return the portfolios that a message is about: those it names, all when it names none.

    Raises:
        AgentError: NOT_FOUND, when what follows "for" or "of" is none of them.
    """
    words = _words(message)
    named = tuple(portfolio for portfolio in known if _mentions(words, portfolio))
    subject = _subject(words)
    if subject and not named:
        raise _unknown(subject, known)
    return named or tuple(known)


def match_portfolio(text: str, known: Sequence[Portfolio]) -> Portfolio:
    """Return the portfolio of a name or code.

    Raises:
        AgentError: NOT_FOUND, naming the known ones.
    """
    words = _words(text)
    for portfolio in known:
        if _mentions(words, portfolio):
            return portfolio
    raise _unknown(words, known)


def _words(text: str) -> list[str]:
    """Return a text's words, in lower case."""
    return _WORD.findall(text.casefold())


def _spaced(words: Sequence[str]) -> str:
    """Return words with a space around each, so that whole words can be searched for."""
    return f" {' '.join(words)} "


def _mentions(words: Sequence[str], portfolio: Portfolio) -> bool:
    """Return whether the portfolio's name or code is among the words."""
    text = _spaced(words)
    return any(_spaced(_words(name)) in text for name in (portfolio.name, portfolio.code))


def _subject(words: Sequence[str]) -> Sequence[str]:
    """Return the words after the first "for" or "of"; none when they mean everything or a time."""
    start = next((index for index, word in enumerate(words, 1) if word in _ABOUT), len(words))
    subject = [word for word in words[start:] if word not in _NO_SUBJECT and not _TIME.fullmatch(word)]
    if subject[:1] == ["portfolio"]:
        del subject[0]  # "for the portfolio Atlantis" names one
    return [] if subject and subject[0] in _EVERYTHING else subject


def _unknown(words: Sequence[str], known: Sequence[Portfolio]) -> AgentError:
    """Return the error that names the known portfolios."""
    shown = " ".join(words)[:MAX_NAME]
    names = ", ".join(portfolio.name for portfolio in known)
    about = f"called “{shown}”" if shown else "without a name"
    return AgentError(
        "NOT_FOUND", f"There is no portfolio {about}. Known: {names}.", details={"known": names}
    )
