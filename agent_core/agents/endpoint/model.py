"""The endpoint's model for Pydantic AI: attempts before the first chunk, and a clock between chunks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

from openai import AsyncOpenAI, omit
from openai.types.chat import ChatCompletionChunk, ChatCompletionStreamOptionsParam
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import FinishReason, ModelMessage, ModelResponseStreamEvent, TextPart, ThinkingPart
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings, OpenAIStreamedResponse
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from agent_core.agents.endpoint.clock import ChunkClock
from agent_core.agents.endpoint.retry import attempts
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.finish_reasons import ending_of
from agent_core.agents.model_failures import BROKEN, CUT_OFF, EMPTY, MALFORMED, STALLED, ModelCallError
from agent_core.agents.pydantic_ai.errors import model_call_error

log = logging.getLogger(__name__)

OPENAI: Final = "api.openai.com"
COMPATIBLE: Final = "openai-compatible"
"""The provider's name in traces, for any other endpoint."""

_NONSENSE: Final = (AttributeError, TypeError, LookupError, ValueError)
"""What reading an answer raises that is JSON and yet no answer: the OpenAI library checks nothing."""


_STREAM_OPTIONS: Final = ("stream_options", "include_usage")
"""What endpoints name that do not know how to tell the usage of a stream, when they refuse the question."""


_without_usage: ContextVar[bool] = ContextVar("without_usage", default=False)
"""Whether the request that is being made leaves out that question."""


class EndpointStream(OpenAIStreamedResponse):
    """An answer as it comes."""

    stall_s: float = 60.0
    """How long a chunk may take, in seconds."""
    after_tools: bool = False
    """Whether the run's model has called tools before."""

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        """Yield the answer's events.

        Raises:
            ModelCallError: It stalls, can't be understood, or is no answer.
        """
        events = cast("AsyncGenerator[ModelResponseStreamEvent]", super()._get_event_iterator())
        with understood():
            async with aclosing(events):
                async for event in events:
                    yield event
            if not self.cancelled:
                self._judge()

    def _judge(self) -> None:
        """Return if what came to its end is an answer.

        Raises:
            ModelCallError: It is none: it was cut off, has failed, or is empty.
        """
        word = (self.provider_details or {}).get("finish_reason")
        if self.finish_reason is None:
            raise ModelCallError(CUT_OFF, f"finish reason {word!r}")
        if self.finish_reason == "error":
            raise ModelCallError(BROKEN, f"finish reason {word!r}")
        # Pydantic AI would ask again, and every reader would see and pay for the thoughts twice. After a tool
        # call many models have nothing to add.
        if self.finish_reason in {"stop", "tool_call"} and not self.after_tools and self._says_nothing():
            raise ModelCallError(EMPTY, f"no text and no tool call, finish reason {word!r}")

    def _says_nothing(self) -> bool:
        """Return whether there is neither text nor a tool call."""
        return all(
            isinstance(part, ThinkingPart) or (isinstance(part, TextPart) and not part.content.strip())
            for part in self._parts_manager.get_parts()
        )

    def _map_finish_reason(self, key: str) -> FinishReason | None:
        """Return what a provider's word for the end means. Pydantic AI's place for this."""
        return ending_of(key)

    def _validate_response(self) -> AsyncIterable[ChatCompletionChunk]:
        """Return the answer's chunks, against the clock. Pydantic AI's place for this."""
        return Clocked(self._response, self.stall_s)


class Clocked(AsyncIterator[ChatCompletionChunk]):
    """Chunks that may not take too long. No generator: there is nothing to close.

    They end too when nothing follows a finish reason for a while.

    Args:
        chunks: The chunks.
        stall_s: How long each may take, in seconds.
    """

    def __init__(self, chunks: AsyncIterable[ChatCompletionChunk], stall_s: float) -> None:
        self._chunks = aiter(chunks)
        self._clock = ChunkClock(stall_s)
        self._now = asyncio.get_running_loop().time

    async def __anext__(self) -> ChatCompletionChunk:
        began = self._now()
        with stalling():
            try:
                async with asyncio.timeout(self._clock.left_s):
                    chunk = await anext(self._chunks)
            except TimeoutError:
                if self._clock.finished:
                    raise StopAsyncIteration from None
                raise
        self._clock.feed(chunk, self._now() - began)
        return chunk


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
        # The last usage counts: clean chunks tell it as a reading, never as a part of a sum.
        given = OpenAIChatModelSettings(openai_continuous_usage_stats=True)
        if settings.max_tokens is not None:
            given["max_tokens"] = settings.max_tokens
        super().__init__(name, provider=provider, profile=profile, settings=given)
        self._endpoint = settings
        self._asks_usage = settings.usage

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
                        response = await self._open(
                            stack, messages, model_settings, model_request_parameters, run_context
                        )
            assert response is not None  # noqa: S101 # an attempt that ends well has set it
            if isinstance(response, EndpointStream):
                response.stall_s = self._endpoint.stall_s
                response.after_tools = run_context is not None and not first
            yield response

    async def _open(
        self,
        stack: AsyncExitStack,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None,
    ) -> StreamedResponse:
        """Return an opened answer, asked for without usage where the endpoint refuses to tell it.

        Args:
            stack: What closes it.
            messages: As in `request_stream`.
            model_settings: As there.
            model_request_parameters: As there.
            run_context: As there.
        """
        asked = (messages, model_settings, model_request_parameters, run_context)
        asks_usage = self._asks_usage  # another run may turn it off while this one waits
        try:
            return await stack.enter_async_context(super().request_stream(*asked))
        except ModelAPIError as error:
            if not asks_usage or not _refuses_stream_options(error):
                raise
        token = _without_usage.set(True)
        try:
            response = await stack.enter_async_context(super().request_stream(*asked))
        finally:
            _without_usage.reset(token)
        # Only now is it certain: an endpoint may have quoted a user's words.
        if not self._asks_usage:
            return response
        log.warning(
            "%s refuses `stream_options`: requests are sent without it from now on, so runs have no usage. "
            "Set TOKENWIRE_MODEL_USAGE=off to avoid the refused request.",
            self._endpoint.url,
        )
        self._asks_usage = False
        return response

    def _get_stream_options(
        self, model_settings: OpenAIChatModelSettings
    ) -> ChatCompletionStreamOptionsParam:
        """Return what is asked beside the answer. Pydantic AI's place for this."""
        del model_settings
        # The OpenAI library leaves out what is `omit`.
        if self._asks_usage and not _without_usage.get():
            return {"include_usage": True}
        return cast("ChatCompletionStreamOptionsParam", omit)

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        """The class of its answers. Pydantic AI's place for this."""
        return EndpointStream


def _refuses_stream_options(error: ModelAPIError) -> bool:
    """Return whether an endpoint says that it does not know the question for the usage."""
    said = str(error.body)
    return any(name in said for name in _STREAM_OPTIONS)


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
