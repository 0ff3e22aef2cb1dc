"""Clean chunks in the place of what an endpoint streams, below the OpenAI library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk

from agent_core.agents.endpoint.stream.decoder import AnswerDecoder, build_chunk
from tests.support.endpoint_cases import encoded


async def events(*pieces: bytes, broken: bool = False) -> list[Any]:
    """Return what a body gives: chunks, and the text of events that are none."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if broken:
            raise httpx2.RemoteProtocolError("peer closed connection")

    decoder = AnswerDecoder()
    return [event.data or event.json() async for event in decoder.aiter_bytes(body())]


async def test_a_connection_may_break_off_after_the_finish_reason() -> None:
    """The answer is complete: some endpoints reset the connection then. Before, it is cut off."""
    text, end = encoded({"delta": {"content": "Hi"}}), encoded({"delta": {}, "finish_reason": "stop"})
    assert [event["choices"] for event in await events(text, end, broken=True)][1][0][
        "finish_reason"
    ] == "stop"
    with pytest.raises(httpx2.RemoteProtocolError):
        await events(text, broken=True)


async def test_done_is_passed_on() -> None:
    """The library above reads nothing after it."""
    assert (await events(encoded({"delta": {"content": "Hi"}}), b"data: [DONE]\n\n"))[-2:][0] == "[DONE]"


CHUNK = {"id": "c", "model": "m", "created": 1, "object": "chat.completion.chunk"}


@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        *(({"content": "a"}, None), ({"reasoning_content": "a"}, None), ({"reasoning": "a"}, None)),
        *(({"refusal": "a"}, None), ({}, "stop"), ({"content": "a"}, "a word")),
    ],
)
@pytest.mark.parametrize("base", [CHUNK, {**CHUNK, "id": "", "model": "", "created": 0}])
def test_a_chunk_that_is_built_here_is_the_librarys(base: Any, delta: Any, reason: str | None) -> None:
    """Field by field, with those that are not there, and those that it does not know."""
    chunk = {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    built, theirs = build_chunk(chunk), construct_type(value=chunk, type_=ChatCompletionChunk)
    assert built is not None
    assert vars(built) == vars(theirs)
    assert built.choices[0].delta.model_extra == theirs.choices[0].delta.model_extra


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": []},
        {"choices": [{"index": 0, "delta": {"tool_calls": []}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}},
    ],
)
def test_a_chunk_with_more_in_it_is_left_to_the_library(chunk: Any) -> None:
    """Usage and tool calls have types of their own inside."""
    assert build_chunk(chunk) is None
