"""How long an answer's next chunk may take."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletionChunk

from agent_core.agents.endpoint.clock import EARLY_GRACE_S, END_GRACE_S, ChunkClock

STALL_S = 60.0


def fed(*chunks: tuple[float, dict[str, Any] | None, str | None]) -> ChunkClock:
    """Return a clock that was fed: when, the delta or None for no choice, the finish reason."""
    clock = ChunkClock(STALL_S)
    for now, delta, reason in chunks:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
        chunk = {"id": "", "created": 0, "model": "", "object": "chat.completion.chunk", "choices": choices}
        clock.feed(ChatCompletionChunk.model_validate(chunk), now)
    return clock


def test_a_chunk_may_take_the_stall_time() -> None:
    """The first one, one after text, and one after nothing."""
    for clock in (fed(), fed((1, {"content": "a"}, None)), fed((1, {}, None)), fed((1, None, None))):
        assert clock.left_s(1) == STALL_S
        assert not clock.finished


def test_after_a_finish_reason_little_time_is_left() -> None:
    """A little more where it came beside text; what has nothing in it does not extend it."""
    clock = fed((1, {"content": "a"}, None), (2, {}, "stop"), (3, None, None), (3.5, {}, None))
    assert (clock.finished, clock.left_s(3.5)) == (True, END_GRACE_S - 1.5)
    assert clock.left_s(99) == 0
    assert fed((1, {"reasoning": "a"}, "stop")).left_s(1) == EARLY_GRACE_S
    assert ChunkClock(1.0).left_s(5) == 1.0


def test_a_finish_reason_that_text_follows_was_too_early() -> None:
    """Then all time is left again; an answer that says nothing more ends all the same."""
    early = fed((1, {"role": "assistant"}, "stop"))
    assert (early.left_s(2), early.finished) == (STALL_S, True)
    late = fed((1, {"content": "a"}, "stop"), (2, {"content": "b"}, None))
    assert (late.left_s(2), late.finished) == (STALL_S, True)


def test_a_short_stall_time_counts_for_the_end_too() -> None:
    """Whoever wants to wait for less gets less."""
    clock = ChunkClock(0.5)
    chunk = {"id": "", "created": 0, "model": "", "object": "chat.completion.chunk"}
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    clock.feed(ChatCompletionChunk.model_validate({**chunk, "choices": [choice]}), 1)
    assert clock.left_s(1) == 0.5
