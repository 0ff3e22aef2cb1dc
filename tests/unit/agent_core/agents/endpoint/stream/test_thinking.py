"""Text with a model's thoughts in it."""

from __future__ import annotations

from itertools import pairwise
from typing import SupportsIndex

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


class Counted(str):
    """A text that counts the characters which are copied out of it and out of its copies."""

    __slots__ = ()
    copied = 0

    @classmethod
    def copy(cls, text: str) -> Counted:
        cls.copied += len(text)
        return cls(text)

    def __getitem__(self, place: SupportsIndex | slice) -> str:
        return self.copy(super().__getitem__(place))

    def __radd__(self, before: str) -> str:
        return self.copy(before + str(self))

    def lstrip(self, characters: str | None = None, /) -> str:
        return self.copy(super().lstrip(characters))

    def removeprefix(self, prefix: str, /) -> str:
        return self.copy(super().removeprefix(prefix))

    def partition(self, separator: str, /) -> tuple[str, str, str]:
        before, found, after = super().partition(separator)
        return self.copy(before), found, self.copy(after)


@pytest.mark.parametrize("each", ["<think></think>", "<think>a</think> ", "<think>\n</think>\n"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_delta_of_many_tags_is_cut_in_one_pass(each: str, inside: bool) -> None:
    """A few copies of the whole; not one of the rest for each tag, which took minutes for a few megabytes."""
    Counted.copied = 0
    text = Counted(each * 2_000)
    pieces = ThoughtSplitter(inside=inside).feed(text)
    assert pieces.count(CLOSE) == 2_000
    assert Counted.copied <= 5 * len(text)


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
