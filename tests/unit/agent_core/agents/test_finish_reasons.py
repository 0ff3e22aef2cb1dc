"""How an answer ended, from the words of all providers."""

from __future__ import annotations

import pytest

from agent_core.agents.finish_reasons import _WORDS, ending_of


@pytest.mark.parametrize("ending", _WORDS)
def test_each_word_has_one_meaning_in_any_case(ending: str) -> None:
    """Lower and upper case, camel case, with hyphens, and behind an enumeration's name."""
    for word in _WORDS[ending]:  # type: ignore[index]
        camel = "".join(part.capitalize() for part in word.split("_"))
        upper = word.upper()
        ways = [word, upper, word.replace("_", "-"), camel, camel[0].lower() + camel[1:], f" {word}\n"]
        ways += [f"FinishReason.{upper}", f"FINISH_REASON_{upper}", f"REASON_{upper}"]
        for way in ways:
            assert ending_of(way) == ending, way
        assert sum(word in words for words in _WORDS.values()) == 1


@pytest.mark.parametrize(
    "word",
    [
        "abort",
        "aborted",
        "cancelled",
        "timeout",
        "insufficient_system_resource",
        "unknown",
        "stopp",
        "",
        ".",
        "7",
    ],
)
def test_what_is_no_end_is_none(word: str) -> None:
    """Words for an answer that was cut off, and words that nobody knows."""
    assert ending_of(word) is None
