"""Puts clean chunks in the place of what an endpoint streams, below the OpenAI library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, cast

import httpx2
from openai import AsyncOpenAI
from openai._streaming import ServerSentEvent, SSEDecoder
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta
from pydantic import BaseModel

from agent_core.agents.endpoint.stream.body import BodyReader, Done
from agent_core.agents.endpoint.stream.chunks import Chunk, ChunkNormalizer

_DONE: Final = ServerSentEvent(data="[DONE]")


class ChunkEvent(ServerSentEvent):
    """A server-sent event whose data was read already."""

    def __init__(self, chunk: Chunk) -> None:
        super().__init__()
        self._chunk = chunk

    def json(self) -> Any:
        """Return the chunk."""
        return self._chunk


class AnswerDecoder(SSEDecoder):
    """Decodes one answer, in the place of the OpenAI library's own decoder.

    Args:
        thinks_first: Whether answers begin with thoughts that no `<think>` opens.
    """

    def __init__(self, *, thinks_first: bool = False) -> None:
        super().__init__()
        self._body = BodyReader()
        self._chunks = ChunkNormalizer(thinks_first=thinks_first)

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """Yield the events of a body.

        Raises:
            ModelCallError: It is no answer.
            APIError: It tells an error.
        """
        try:
            async for data in iterator:
                for event in self._events(self._body.feed(data)):
                    yield event
        except httpx2.TransportError:
            if not self._chunks.finished:
                raise
            # The answer was complete before the connection broke off.
        for event in self._events(self._body.finish()):
            yield event
        for chunk in self._chunks.finish():
            yield ChunkEvent(chunk)

    def _events(self, values: Iterator[object]) -> Iterator[ServerSentEvent]:
        for value in values:
            if isinstance(value, Done):
                yield from map(ChunkEvent, self._chunks.done())
                yield _DONE
            else:
                yield from map(ChunkEvent, self._chunks.feed(value))


class EndpointClient(AsyncOpenAI):
    """The OpenAI library's client, for endpoints that are not OpenAI's too."""

    thinks_first = False
    """Whether answers begin with thoughts that no `<think>` opens."""

    def _make_sse_decoder(self) -> SSEDecoder:
        """Return a decoder for one answer. The library's place for this."""
        return AnswerDecoder(thinks_first=self.thinks_first)

    def _process_response_data(self, *, data: object, cast_to: type[Any], response: httpx2.Response) -> Any:
        """Return data as an object. The library's place for this.

        Its own way looks at each field's type anew. That takes 45 us, and 8 us where the types are known.
        """
        if cast_to is ChatCompletionChunk and isinstance(data, dict):
            chunk = build_chunk(data)
            if chunk is not None:
                return chunk
        return super()._process_response_data(data=data, cast_to=cast_to, response=response)


def build_chunk(chunk: Chunk) -> ChatCompletionChunk | None:
    """Return the OpenAI library's object of a clean chunk; None of one that is more than text or reasoning.

    Args:
        chunk: A clean one.
    """
    choices = chunk["choices"]
    if not choices or "usage" in chunk or "tool_calls" in choices[0]["delta"]:
        return None
    choice = choices[0]
    # Pydantic's own, which the library's classes replace with the slow one.
    construct = BaseModel.model_construct.__func__  # type: ignore[attr-defined]
    delta = construct(ChoiceDelta, **choice["delta"])
    built = construct(Choice, index=0, delta=delta, finish_reason=choice["finish_reason"])
    return cast("ChatCompletionChunk", construct(ChatCompletionChunk, **{**chunk, "choices": [built]}))
