"""One table of reasons: each has its row, and is said somewhere; the pages tell of all."""

from __future__ import annotations

import re
from itertools import chain

import grpc
import pytest

from scripts import gen_reasons
from tests.support.processes import ROOT
from tokenwire.reasons import PASSES_AT_AN_EDGE, Reason, Retry, Source

CODES = {code.name for code in grpc.StatusCode}
SAID = re.compile(r"\bReason\.([A-Z_]+)")
WORD = re.compile(r"\"reason\": \"(\w+)\"|RefusalError\(\s*\"\w+\",\s*\"(\w+)\"")
"""A reason that is said by a word of its own."""

FOLDERS = (
    "agent_core/*.py",
    "agent_core/agents/events.py",
    "agent_core/runs/**/*.py",
    "agent_core/rpc/**/*.py",
    "edge/**/*.py",
)
SHARED = ("tokenwire/authentication/*.py",)


def sources() -> str:
    """Return the text of all that says reasons."""
    return "\n".join(path.read_text() for path in chain(*map(ROOT.glob, (*FOLDERS, *SHARED))))


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_a_word_with_a_code(reason: Reason) -> None:
    """Its name is what travels; its code is one of gRPC's; what to do is said, unless nothing can be done."""
    assert reason.name == reason.value == str(reason)
    assert reason.code in CODES
    assert isinstance(reason.retry, Retry)
    assert isinstance(reason.source, Source)
    assert reason.advice
    assert all(re.fullmatch(r"\w+", fact) for fact in reason.facts)


def test_every_reason_is_said_somewhere_and_by_its_name() -> None:
    """A word of its own would have no row; a row that is never said would mislead. Agents have their own."""
    text = sources()
    assert {*SAID.findall(text)} == set(Reason.__members__)
    assert WORD.findall(text) == []
    assert [reason for reason in Reason if f'"{reason}"' in text] == []


def test_what_passes_at_an_edge_has_a_final_code() -> None:
    """Else the code alone would say that following again may help."""
    assert {reason.code for reason in PASSES_AT_AN_EDGE} == {"NOT_FOUND", "DATA_LOSS", "INTERNAL"}


@pytest.mark.parametrize("page", gen_reasons.TABLES)
def test_the_pages_have_the_table_as_it_is(page: str) -> None:
    """`python -m scripts.gen_reasons` writes it."""
    assert gen_reasons.written(page) == (gen_reasons.DOCS / page).read_text()


def test_each_reason_stands_in_one_table() -> None:
    """A source without a page would leave its reasons unexplained."""
    told = "".join((gen_reasons.DOCS / page).read_text() for page in gen_reasons.TABLES)
    assert {source for tables in gen_reasons.TABLES.values() for source in tables.values()} == set(Source)
    assert all(f"| `{reason.code}` |" in told and f"`{reason}`" in told for reason in Reason)
