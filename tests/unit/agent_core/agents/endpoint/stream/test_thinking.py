"""Text with a model's thoughts in it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents.endpoint.stream.thinking import CLOSE, OPEN, ThoughtSplitter

PLAIN = st.text(st.sampled_from("ab <>/\n"), max_size=12)
"""No tag, but what looks like the beginning of one."""


def told(splitter: ThoughtSplitter, texts: list[str]) -> tuple[str, str]:
    """Return the thoughts and the text, as Pydantic AI takes the pieces."""
    inside, thoughts, plain = False, "", ""
    for piece in [piece for text in texts for piece in splitter.feed(text)] + splitter.flush():
        if piece == OPEN or (piece == CLOSE and inside):
            inside = piece == OPEN
        elif inside:
            thoughts += piece
        else:
            plain += piece
    return thoughts, plain


@given(PLAIN, PLAIN, st.booleans(), st.data())
def test_tags_may_be_cut_anywhere(thought: str, answer: str, opened: bool, data: st.DataObject) -> None:
    """With the opening tag, or without it where answers are known to begin with thoughts."""
    text = f"{OPEN if opened else ''}{thought}{CLOSE}{answer}"
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8))), len(text)]
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    assert told(ThoughtSplitter(inside=not opened), pieces) == (thought, answer.lstrip())


@given(st.lists(PLAIN, max_size=5))
def test_text_without_tags_stays_as_it_is(texts: list[str]) -> None:
    """However much of it looks like the beginning of one."""
    assert told(ThoughtSplitter(), texts) == ("", "".join(texts))


@pytest.mark.parametrize(
    ("texts", "thoughts", "plain"),
    [
        (["a</think>b"], "a", "b"),
        (["a", "b</think>c"], "b", "ac"),
        (["a", "</think>", "c"], "", "ac"),
        (["a</think>b</think>c"], "a", "b</think>c"),
        (["see `</think>`"], "", "see `</think>`"),
        ([" \n", "<think>", "a", "</think>", "\n", "b"], "a", " \nb"),
        (["a <think>b</think>"], "a <think>b", ""),
        (["a", "<think>", "b", "</think>", "c"], "b", "ac"),
        (["<think>a"], "a", ""),
        (["<thi"], "", "<thi"),
        (["<think>a</thi"], "a</thi", ""),
    ],
)
def test_a_closing_tag_alone(texts: list[str], thoughts: str, plain: str) -> None:
    """What stands before it in the same delta is a thought; it counts once, and not where it is quoted."""
    assert told(ThoughtSplitter(), texts) == (thoughts, plain)


def test_thoughts_in_parts_of_their_own() -> None:
    """They end where text begins, and a tag that waits for its rest is none."""
    splitter = ThoughtSplitter()
    assert splitter.feed("<") == []
    assert splitter.feed_thought("a") == ["<", OPEN, "a"]
    assert splitter.feed_thought("b") == ["b"]
    assert splitter.feed("c") == [CLOSE, "c"]


def test_an_endpoint_that_tells_thoughts_apart_needs_no_tags() -> None:
    """Then a tag in the text is text."""
    splitter = ThoughtSplitter(inside=True)
    splitter.reasoned()
    assert splitter.feed("a</think>b") == ["a</think>b"]
