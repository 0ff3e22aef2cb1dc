"""How long an answer's next chunk may take."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletionChunk

from agent_core.agents.endpoint.clock import EARLY_GRACE_S, END_GRACE_S, ChunkClock

STALL_S = 60.0


def fed(*chunks: tuple[float, dict[str, Any] | None, str | None], stall_s: float = STALL_S) -> ChunkClock:
    """Return a clock that was fed: the time waited, the delta or None for no choice, the finish reason."""
    clock = ChunkClock(stall_s)
    for waited_s, delta, reason in chunks:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
        chunk = {"id": "", "created": 0, "model": "", "object": "chat.completion.chunk", "choices": choices}
        clock.feed(ChatCompletionChunk.model_validate(chunk), waited_s)
    return clock


def test_a_chunk_may_take_the_stall_time() -> None:
    """The first one, one after text, and one after nothing, however long the one before has taken."""
    for clock in (fed(), fed((9, {"content": "a"}, None)), fed((9, {}, None)), fed((9, None, None))):
        assert clock.left_s == STALL_S
        assert not clock.finished


def test_after_a_finish_reason_little_time_is_left() -> None:
    """A little more where it came beside text; chunks that say nothing use it up."""
    clock = fed((5, {"content": "a"}, None), (5, {}, "stop"), (1, None, None), (0.5, {}, None))
    assert (clock.finished, clock.left_s) == (True, END_GRACE_S - 1.5)
    assert fed((0, {"content": "a"}, "stop"), (99, None, None)).left_s == 0
    assert fed((0, {"reasoning": "a"}, "stop")).left_s == EARLY_GRACE_S


def test_a_finish_reason_that_text_follows_was_too_early() -> None:
    """Then all time is left again; an answer that says nothing more ends all the same."""
    early = fed((0, {"role": "assistant"}, "stop"))
    assert (early.left_s, early.finished) == (STALL_S, True)
    late = fed((0, {"content": "a"}, "stop"), (0, {"content": "b"}, None))
    assert (late.left_s, late.finished) == (STALL_S, True)


def test_a_short_stall_time_counts_for_the_end_too() -> None:
    """An operator that wants to wait for less gets less."""
    assert fed((0, {"content": "a"}, "stop"), stall_s=0.5).left_s == 0.5
