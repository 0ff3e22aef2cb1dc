"""Puts clean chunks in the place of what an endpoint streams, below the OpenAI library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI
from openai._streaming import ServerSentEvent, SSEDecoder

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
