"""The endpoint's model for Pydantic AI: attempts before the first chunk, and a clock between chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, Final, cast

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic_ai.messages import ModelMessage, ModelResponseStreamEvent
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIStreamedResponse
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from agent_core.agents.endpoint.retry import attempts
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.pydantic_ai.errors import ModelCallError, model_call_error
from agent_core.agents.pydantic_ai.kinds import MALFORMED, STALLED

OPENAI: Final = "api.openai.com"
COMPATIBLE: Final = "openai-compatible"
"""The provider's name in traces, for any other endpoint."""

_NONSENSE: Final = (AttributeError, TypeError, LookupError, ValueError)
"""What reading an answer raises that is JSON and yet no answer: the OpenAI library checks nothing."""


class EndpointStream(OpenAIStreamedResponse):
    """An answer as it comes."""

    stall_s: float = 60.0
    """How long a chunk may take, in seconds."""

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        """Yield the answer's events.

        Raises:
            ModelCallError: It stalls, or can't be understood.
        """
        events = cast("AsyncGenerator[ModelResponseStreamEvent]", super()._get_event_iterator())
        with understood():
            async with aclosing(events):
                async for event in events:
                    yield event

    def _validate_response(self) -> AsyncIterable[ChatCompletionChunk]:
        """Return the answer's chunks, against the clock. Pydantic AI's place for this."""
        return Clocked(self._response, self.stall_s)


class Clocked(AsyncIterator[ChatCompletionChunk]):
    """Chunks that may not take too long. No generator: there is nothing to close.

    Args:
        chunks: The chunks.
        stall_s: How long each may take, in seconds.
    """

    def __init__(self, chunks: AsyncIterable[ChatCompletionChunk], stall_s: float) -> None:
        self._chunks = aiter(chunks)
        self._stall_s = stall_s

    async def __anext__(self) -> ChatCompletionChunk:
        with stalling():
            async with asyncio.timeout(self._stall_s):
                return await anext(self._chunks)


class EndpointModel(OpenAIChatModel):
    """The model behind an endpoint.

    Args:
        name: Its name there.
        client: The endpoint's client.
        settings: How to call it.
    """

    def __init__(self, name: str, client: AsyncOpenAI, settings: EndpointSettings) -> None:
        openai = client.base_url.host == OPENAI
        provider: Provider[AsyncOpenAI] = (
            OpenAIProvider(openai_client=client)
            if openai
            else OpenAICompatibleProvider(COMPATIBLE, openai_client=client)
        )
        profile = OpenAIModelProfile(
            # An answer that just ends is one that broke off.
            openai_chat_streaming_requires_finish_reason=True,
            # OpenAI's newer name for it is known to few others.
            openai_chat_supports_max_completion_tokens=openai,
        )
        limit = {} if settings.max_tokens is None else {"max_tokens": settings.max_tokens}
        super().__init__(name, provider=provider, profile=profile, settings=cast("ModelSettings", limit))
        self._endpoint = settings

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Open an answer, and close its request on leaving.

        Only a run's first call is tried again, and only until its first chunk: nobody has seen anything yet.

        Raises:
            ModelCallError: It can't be opened.
        """
        first = run_context is not None and run_context.run_step <= 1
        async with AsyncExitStack() as stack:
            response: StreamedResponse | None = None
            async for attempt in attempts(self._endpoint, again=first):
                with attempt, understood(), stalling():
                    async with asyncio.timeout(self._endpoint.stall_s):
                        response = await stack.enter_async_context(
                            super().request_stream(
                                messages, model_settings, model_request_parameters, run_context
                            )
                        )
            assert response is not None  # noqa: S101 # an attempt that ends well has set it
            if isinstance(response, EndpointStream):
                response.stall_s = self._endpoint.stall_s
            yield response

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        """The class of its answers. Pydantic AI's place for this."""
        return EndpointStream


@contextmanager
def stalling() -> Generator[None]:
    """Turn a time-out into what it means here."""
    try:
        yield
    except TimeoutError as error:
        raise ModelCallError(STALLED) from error


@contextmanager
def understood() -> Generator[None]:
    """Turn what goes wrong with a call, and what reading nonsense raises, into what it means to users."""
    try:
        yield
    except Exception as error:
        known = model_call_error(error)
        if known is error:
            raise
        if known is None and isinstance(error, _NONSENSE):
            known = ModelCallError(MALFORMED, f"{type(error).__name__}: {error}")
        if known is None:
            raise
        raise known from error
