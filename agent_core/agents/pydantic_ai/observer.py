"""What goes on inside a run of a Pydantic AI agent: its spans, and the limits of its tools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic_ai.capabilities import AbstractCapability, WrapModelRequestHandler, WrapToolExecuteHandler
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    SkipToolExecution,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)
from pydantic_ai.messages import (
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    ToolCallPart,
    ToolReturn,
)
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.tools import RunContext, ToolDefinition

from agent_core.agents.chat_span import ChatSpan, Server
from agent_core.agents.events import AgentError, Usage
from agent_core.agents.pydantic_ai.errors import model_call_error
from agent_core.agents.pydantic_ai.translation import NotJsonError, to_json
from agent_core.agents.tool_span import ToolSpan

log = logging.getLogger(__name__)

_SIGNALS: Final = (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    SkipToolExecution,
    ToolFailed,
    ToolFailedError,
    ToolRetryError,
)
"""What a tool raises on purpose: Pydantic AI knows what to do."""


class ToolLimitError(UsageLimitExceeded):
    """The run has had all the tool calls that it may have, and the model wants more."""


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """How much tools may do in one run. None: no limit."""

    calls: int | None = None
    """How many calls there may be."""
    timeout_s: float | None = None
    """How long one call may take, in seconds."""


class Observer(AbstractCapability[Any]):
    """Watches one run: a span for each model call and tool call, and an end to tool calls without end.

    A failed tool is not a failed run: the model is told, and so is the user, without the
    exception's text, which goes to the log.

    Args:
        limits: What tools may do.
        may_act: Awaited before each tool call: returns once the run is certainly still this core's.
    """

    def __init__(self, limits: ToolLimits, may_act: Callable[[], Awaitable[None]]) -> None:
        self._limits = limits
        self._may_act = may_act
        self._calls = 0
        self._over = False
        self._chat: ChatSpan | None = None

    def chunk(self, event: object) -> None:
        """Take note of an event of a run: of those that are pieces of a model's answer.

        Args:
            event: Any of Pydantic AI's. Some only say what those before them mean.
        """
        if self._chat is not None and isinstance(event, (PartStartEvent, PartDeltaEvent)):
            self._chat.chunk()

    def close(self, error: BaseException | None) -> None:
        """End the span that is open, if any.

        Args:
            error: What ended the run; None when nothing did.
        """
        chat, self._chat = self._chat, None
        if chat is not None:
            chat.end(error)

    async def wrap_model_request(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 # theirs
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ModelResponse:
        """Make one model call, inside its span.

        A stream that breaks off ends this with a cancellation: then the span stays open, and
        `close` is told what it really was.

        Raises:
            ToolLimitError: There were too many tool calls before it.
        """
        if self._over:
            raise ToolLimitError(f"more than {self._limits.calls} tool calls")
        self.close(None)
        settings = request_context.model_settings or {}
        self._chat = _chat_span(request_context.model, settings.get("max_tokens"))
        try:
            response = await handler(request_context)
        except Exception as error:
            self.close(model_call_error(error) or error)
            raise
        self._chat.answered(_reason(response), usage_of(response.usage), model=response.model_name)
        self.close(None)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 # theirs
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,  # noqa: ARG002 # theirs
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Make one tool call, inside its span and its limits.

        Raises:
            ToolFailed: It failed; the text is fit for a user and for the model.
        """
        if self._limits.calls is not None and self._calls >= self._limits.calls:
            self._over = True
            raise ToolFailed(f"Not called: a run may call tools {self._limits.calls} times.")
        self._calls += 1
        await self._may_act()
        try:
            with ToolSpan(call.tool_name, call.tool_call_id):
                return await self._execute(args, handler)
        except _SIGNALS:
            raise
        except AgentError as error:
            raise ToolFailed(error.message) from error
        except NotJsonError as error:
            log.exception("The tool %r returned a value that is not JSON", call.tool_name)
            raise ToolFailed(str(error)) from error
        except TimeoutError as error:
            log.exception("The tool %r took too long", call.tool_name)
            raise ToolFailed("The tool took too long.") from error
        except Exception as error:
            if isinstance(error, UnexpectedModelBehavior) and isinstance(error.__cause__, ModelRetry):
                raise  # The tool has asked for another try too often: the end of the run.
            log.exception("The tool %r failed", call.tool_name)
            raise ToolFailed("The tool failed.") from error

    async def _execute(self, args: dict[str, Any], handler: WrapToolExecuteHandler) -> Any:
        """Return a tool's result, which is JSON."""
        async with asyncio.timeout(self._limits.timeout_s):
            result = await handler(args)
        to_json(result.return_value if isinstance(result, ToolReturn) else result)
        return result


def usage_of(usage: Any) -> Usage | None:
    """Return the tokens that Pydantic AI counted; None where the provider told none.

    Args:
        usage: A `RequestUsage`, or a `RunUsage`, which is the sum over a run.
    """
    known = usage.input_tokens or usage.output_tokens
    return Usage(usage.input_tokens, usage.output_tokens) if known else None


def _chat_span(model: Model, max_tokens: int | None) -> ChatSpan:
    """Return the span of a call of a model."""
    url = urlsplit(model.base_url or "")
    server = Server(url.hostname, url.port) if url.hostname else None
    return ChatSpan(model.model_name, max_tokens=max_tokens, provider=model.system, server=server)


def _reason(response: ModelResponse) -> str:
    """Return the finish reason, in the provider's word where it is known."""
    given = (response.provider_details or {}).get("finish_reason")
    return given if isinstance(given, str) else response.finish_reason or "unknown"
