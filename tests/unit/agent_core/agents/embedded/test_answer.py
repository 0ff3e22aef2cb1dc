"""What the engine's chunks mean."""

from __future__ import annotations

from typing import Any

import pytest

from agent_core.agents import AgentError, Finish, TextDelta, Usage
from agent_core.agents.embedded.answer import Answer, ContextOverflowError


def piece(content: str | None, made: int | None = None) -> dict[str, Any]:
    chunk: dict[str, Any] = {"choices": [{"finish_reason": None, "delta": {"content": content}}]}
    return chunk if made is None else {**chunk, "timings": {"predicted_n": made}}


END: dict[str, Any] = {"choices": [{"finish_reason": "stop", "delta": {}}]}
USAGE: dict[str, Any] = {"choices": [], "usage": {"prompt_tokens": 34, "completion_tokens": 5}}


def test_pieces_count_their_tokens() -> None:
    """A character that takes several tokens counts them all; progress chunks give nothing."""
    answer = Answer()
    chunks = [piece(None), piece("Here", 1), piece("🎉", 4), piece(" are", 5), END, USAGE]
    deltas = [delta for chunk in chunks if (delta := answer.feed(chunk))]
    assert deltas == [TextDelta("Here", 1), TextDelta("🎉", 3), TextDelta(" are", 1)]
    assert answer.finish() == Finish("stop", Usage(34, 5))


def test_a_piece_without_a_count_is_one_token() -> None:
    """An engine that does not count still gives one token a piece."""
    answer = Answer()
    assert [answer.feed(piece(text)) for text in "ab"] == [TextDelta("a", 1), TextDelta("b", 1)]


def test_length_is_told() -> None:
    """An answer that was cut off says so; usage may be missing."""
    answer = Answer()
    answer.feed({"choices": [{"finish_reason": "length", "delta": {}}]})
    assert answer.finish() == Finish("length", None)


def test_an_answer_that_just_ends_is_an_error() -> None:
    """Without a finish reason the answer is not complete, and is not shown as if it were."""
    answer = Answer()
    answer.feed(piece("Here", 1))
    with pytest.raises(AgentError) as caught:
        answer.finish()
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)


def test_a_conversation_that_is_too_long_says_by_how_much() -> None:
    """The user learns both numbers, and that repeating is no help."""
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 6031, "n_ctx": 4096, "message": "…"}
    with pytest.raises(ContextOverflowError, match=r"6031 tokens.*4096") as caught:
        Answer().feed({"error": error})
    assert (caught.value.code, caught.value.retryable) == ("INVALID_ARGUMENT", False)


def test_the_engines_own_words_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown failure of the engine shows nothing of its text to the user."""
    with pytest.raises(AgentError) as caught:
        Answer().feed({"error": {"type": "server_error", "message": "/secret/path"}})
    assert caught.value.code == "INTERNAL"
    assert "/secret" not in caught.value.message
    assert "/secret/path" in caplog.text
