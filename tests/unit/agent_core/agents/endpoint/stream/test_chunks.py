"""Clean chunks of an answer, whatever the endpoint made them of."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError
from openai.types.chat import ChatCompletionChunk

from agent_core.agents.endpoint.stream.body import BodyReader, Done
from agent_core.agents.endpoint.stream.chunks import Chunk, ChunkNormalizer
from agent_core.agents.model_failures import ModelCallError
from tests.support.endpoint_cases import encoded

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
"""Any JSON."""


def fields(*names: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of these fields, whose values may be anything."""
    return st.fixed_dictionaries({}, optional={**dict.fromkeys(names, VALUES), **known})


CALL = fields("index", "id", "type", function=st.one_of(VALUES, fields("name", "arguments")))
DELTA = fields(
    *("role", "content", "reasoning", "reasoning_content", "thinking", "refusal", "function_call"),
    tool_calls=st.one_of(VALUES, st.lists(CALL, max_size=3)),
    content=st.one_of(VALUES, st.lists(fields("type", "text", "thinking"), max_size=3)),
)
CHOICE = fields("index", "finish_reason", "text", "usage", delta=st.one_of(VALUES, DELTA), message=DELTA)
CHUNK = st.one_of(
    VALUES,
    fields(
        *("id", "object", "created", "model", "usage", "error", "x_groq", "base_resp", "message"),
        choices=st.one_of(VALUES, st.lists(CHOICE, max_size=2)),
        usage=st.one_of(VALUES, fields("prompt_tokens", "completion_tokens", "prompt_tokens_details")),
    ),
)


@given(st.lists(CHUNK, max_size=6))
def test_any_json_gives_sound_chunks_or_a_failure(values: list[Any]) -> None:
    """What comes out is a chunk by OpenAI's own types, but for the finish reason: a provider's word."""
    normalizer, chunks = ChunkNormalizer(), list[Chunk]()
    try:
        for value in values:
            chunks += normalizer.feed(value)
        chunks += normalizer.done()
    except (ModelCallError, APIError):
        pass
    for chunk in chunks:
        for choice in chunk["choices"]:
            assert choice["finish_reason"] is None or isinstance(choice["finish_reason"], str)
            choice["finish_reason"] = None
        ChatCompletionChunk.model_validate(chunk, strict=True).model_dump_json()


def text_of(chunks: list[Chunk]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


@given(st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=20), st.booleans(), st.data())
def test_characters_come_whole_wherever_a_tokenizer_cuts(
    text: str, in_bytes: bool, data: st.DataObject
) -> None:
    """Between the surrogates that JSON's escapes are, or the bytes of UTF-8."""
    units = text.encode() if in_bytes else text.encode("utf-16-le")
    step = 1 if in_bytes else 2
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(units) // step), max_size=6))), len(units)]
    normalizer, chunks = ChunkNormalizer(), list[Chunk]()
    for begin, end in pairwise(cuts):
        piece = units[step * begin : step * end]
        content = (
            piece.decode("utf-8", "surrogateescape")
            if in_bytes
            else piece.decode("utf-16-le", "surrogatepass")
        )
        chunks += normalizer.feed({"choices": [{"delta": {"content": content}}]})
    assert text_of(chunks + normalizer.done()) == text


@given(st.lists(st.integers(1, 99), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_usage_is_the_last_reading_wherever_it_stands(
    readings: list[int], beside_text: bool, again: bool
) -> None:
    """Beside text, in the finish chunk, in a chunk of its own, or again: it is told with the end."""
    normalizer, chunks = ChunkNormalizer(), list[Chunk]()
    for reading in readings:
        usage = {"usage": {"prompt_tokens": 5, "completion_tokens": reading}}
        chunks += normalizer.feed(
            {"choices": [{"delta": {"content": "x"}}], **(usage if beside_text else {})}
        )
    chunks += normalizer.feed({"choices": [{"delta": {}, "finish_reason": "stop"}], **usage})
    chunks += normalizer.feed({"choices": [], **usage}) if again else []
    told = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert set(map(len, told)) == {3}
    assert told[-1] == {
        "prompt_tokens": 5,
        "completion_tokens": readings[-1],
        "total_tokens": 5 + readings[-1],
    }


def test_a_part_of_an_answer_is_never_a_whole_one() -> None:
    """Cut at any byte: it is finished only with its finish reason, and its text is a part of all."""
    items = [
        {"delta": {"content": "Hé "}},
        {"delta": {"content": "😀"}},
        {"delta": {}, "finish_reason": "stop"},
    ]
    body = b"".join(map(encoded, items))
    whole = len(body) - 2  # The last line is complete, but for its end.
    for at in range(len(body) + 1):
        reader, normalizer, chunks = BodyReader(), ChunkNormalizer(), list[Chunk]()
        for value in [*reader.feed(body[:at]), *reader.finish()]:
            chunks += normalizer.feed(value)
        assert normalizer.finished is (at >= whole), at
        assert "Hé 😀".startswith(text_of(chunks))


@pytest.mark.parametrize("value", [7, "x", [], [1, 2], True, {"choices": [7]}, {"choices": {"a": 1}}])
def test_what_is_no_chunk_is_refused(value: object) -> None:
    """With its text for the log."""
    with pytest.raises(ModelCallError) as caught:
        ChunkNormalizer().feed(value)
    assert caught.value.reason == "MODEL_ANSWER_MALFORMED"


def test_each_value_is_a_sign_of_life() -> None:
    """But null: what has nothing in it keeps a slow answer from being taken for one that stalls."""
    normalizer = ChunkNormalizer()
    assert normalizer.feed(None) == []
    for value in ({}, {"choices": []}, {"choices": [{"delta": {"role": "assistant"}}]}, {"type": "ping"}):
        assert len(normalizer.feed(value)) == 1


def test_done_is_told_once() -> None:
    """After a finish reason nothing more; a body without anything is no answer."""
    normalizer = ChunkNormalizer()
    for value in BodyReader().feed(b"data: [DONE]\n\n"):
        assert isinstance(value, Done)
    with pytest.raises(ModelCallError):
        normalizer.done()
    with pytest.raises(ModelCallError):
        normalizer.finish()
