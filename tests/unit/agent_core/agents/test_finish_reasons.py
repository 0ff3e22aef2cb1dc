"""How an answer ended, from the words of all providers."""

from __future__ import annotations

import pytest

from agent_core.agents.finish_reasons import _WORDS, Ending, ending_of, finish_of
from agent_core.agents.model_failures import ModelCallError


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


@pytest.mark.parametrize("ending", [*_WORDS, None])
def test_a_run_finishes_as_its_last_answer_did(ending: Ending | None) -> None:
    """Withheld, failed and cut off are errors, with the provider's word for the log; the rest is not."""
    failed = {None: "MODEL_CUT_OFF", "content_filter": "CONTENT_FILTERED", "error": "MODEL_FAILED"}
    if ending not in failed:
        assert finish_of(ending, "x") == ("length" if ending == "length" else "stop")
        return
    with pytest.raises(ModelCallError) as caught:
        finish_of(ending, "word")
    assert (caught.value.reason, caught.value.provider_said) == (failed[ending], "finish reason 'word'")
