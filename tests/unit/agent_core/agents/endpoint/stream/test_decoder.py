"""Clean chunks in the place of what an endpoint streams, below the OpenAI library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from agent_core.agents.endpoint.stream.decoder import AnswerDecoder
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
