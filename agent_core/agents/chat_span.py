"""Spans of model calls, with the names of the GenAI conventions.

Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from opentelemetry.trace import SpanKind, Status, StatusCode

from agent_core.agents.events import AgentError, Finish, Usage
from tokenwire.telemetry import monotonic_nano, tracer
from tokenwire.telemetry.attributes import (
    CANCELLED,
    ERROR_TYPE,
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_RESPONSE_FINISH_REASONS,
    GEN_AI_RESPONSE_MODEL,
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from tokenwire.telemetry.metrics.instruments import (
    GEN_AI_DURATION,
    GEN_AI_TIME_PER_OUTPUT_CHUNK,
    GEN_AI_TIME_TO_FIRST_CHUNK,
)
from tokenwire.telemetry.metrics.series import BUFFERED, NANO

CHAT: Final = "chat"
EMBEDDED_PROVIDER: Final = "tokenwire.embedded"

CANCELLED_CALL: Final = "cancelled"
"""What the metrics call the error of a call that was cancelled. The span has an attribute for it."""


class ChatTimes:
    """How long the parts of one call took, for the metrics `gen_ai.client.inference.*`. It begins now.

    Args:
        operation: `chat`.
        provider: Who runs the model.
        model: The model's name.
    """

    def __init__(self, operation: str, provider: str, model: str) -> None:
        self._labels = (operation, provider, model)
        self._began = monotonic_nano()
        self._last = 0
        self._gaps: list[int] = []

    def chunk(self) -> float | None:
        """Take note that a piece of the answer came; return the seconds up to it where it is the first."""
        now = monotonic_nano()
        last, self._last = self._last, now
        if last:
            self._gaps.append(now - last)
            if len(self._gaps) >= BUFFERED:
                self._count_gaps()
            return None
        first_s = (now - self._began) / NANO
        GEN_AI_TIME_TO_FIRST_CHUNK.observe(first_s, *self._labels)
        return first_s

    def end(self, error_type: str = "") -> None:
        """Take note that the call is over.

        Args:
            error_type: What ended it; empty where it came to its own end.
        """
        self._count_gaps()
        GEN_AI_DURATION.observe((monotonic_nano() - self._began) / NANO, *self._labels, error_type)

    def _count_gaps(self) -> None:
        GEN_AI_TIME_PER_OUTPUT_CHUNK.observe_many_nano(self._gaps, self._labels)
        self._gaps.clear()


@dataclass(frozen=True, slots=True)
class Server:
    """A model's server, when the model is not in this process."""

    address: str
    """Its host name or address."""
    port: int | None = None


class ChatSpan:
    """The span `chat {model}` around one streamed call of a model.

    Its parent is the span that is current when it is made. It is never current itself, so it
    may stay open across `yield`. Leaving the context ends it and records how it ended.

    Args:
        model: The model's name.
        max_tokens: The longest answer, in tokens; None where the provider decides.
        provider: Who runs the model.
        server: Where; None for this process.
    """

    def __init__(
        self,
        model: str,
        *,
        max_tokens: int | None,
        provider: str = EMBEDDED_PROVIDER,
        server: Server | None = None,
    ) -> None:
        given: dict[str, str | int | None] = {
            GEN_AI_OPERATION_NAME: CHAT,
            GEN_AI_PROVIDER_NAME: provider,
            GEN_AI_REQUEST_MODEL: model,
            GEN_AI_REQUEST_STREAM: True,
            GEN_AI_REQUEST_MAX_TOKENS: max_tokens,
            SERVER_ADDRESS: server.address if server else None,
            SERVER_PORT: server.port if server else None,
        }
        self._span = tracer().start_span(
            f"{CHAT} {model}",
            kind=SpanKind.CLIENT if server else SpanKind.INTERNAL,
            attributes={name: value for name, value in given.items() if value is not None},
        )
        self._times = ChatTimes(CHAT, provider, model)
        self._finished = False

    def chunk(self) -> None:
        """Take note that a piece of the answer came; the first one's time is recorded."""
        first_s = self._times.chunk()
        if first_s is not None:
            self._span.set_attribute(GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, first_s)

    def finish(self, finish: Finish) -> None:
        """Record how the model ended its answer."""
        self.answered(finish.reason, finish.usage)

    def answered(self, reason: str, usage: Usage | None, *, model: str | None = None) -> None:
        """Record how the model ended its answer.

        Args:
            reason: The finish reason, in the provider's word.
            usage: The tokens of this call.
            model: Which model the provider says has answered.
        """
        self._finished = True
        self._span.set_attribute(GEN_AI_RESPONSE_FINISH_REASONS, (reason,))
        if model:
            self._span.set_attribute(GEN_AI_RESPONSE_MODEL, model)
        if usage is not None and usage.input_tokens is not None:
            self._span.set_attribute(GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
        if usage is not None and usage.output_tokens is not None:
            self._span.set_attribute(GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)

    def end(self, error: BaseException | None = None) -> None:
        """End the span, as leaving its context does.

        Args:
            error: What ended the call; None when nothing did.
        """
        self.__exit__(None, error, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        name = ""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            # A reader may leave right after the last event: that cancels nothing.
            if not self._finished:
                self._span.set_attribute(CANCELLED, True)
                name = CANCELLED_CALL
        elif error is not None:
            name = error.code if isinstance(error, AgentError) else type(error).__qualname__
            self._span.set_attribute(ERROR_TYPE, name)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._times.end(name)
        self._span.end()
