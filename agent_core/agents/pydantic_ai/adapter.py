"""A Pydantic AI `Agent` as an agent of this core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Final, Self

from pydantic_ai import AgentRunResultEvent
from pydantic_ai.agent import AbstractAgent, AgentRunResult
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.exceptions import OutputTokenLimitExceeded, UsageLimitExceeded
from pydantic_ai.models import Model

from agent_core.agents.events import AgentEvent, Finish, FinishReasonName, RunRequest, TextDelta
from agent_core.agents.finish_reasons import ending_of, finish_of
from agent_core.agents.model_failures import ModelCallError
from agent_core.agents.pydantic_ai.approvals import Approvals
from agent_core.agents.pydantic_ai.errors import model_call_error
from agent_core.agents.pydantic_ai.observer import Observer, ToolLimits, usage_of
from agent_core.agents.pydantic_ai.translation import Translation, messages_of, to_json

NO_LIMITS: Final = ToolLimits()


class PydanticAgent:
    """An agent that is one of Pydantic AI's.

    Entering it enters theirs, with its toolsets. Where its `deps_type` is `RunRequest`, its tools
    get the request as their `deps`; otherwise they get None.

    Args:
        agent: Theirs.
        limits: What its tools may do.
        hide: Takes out of a text for the log what must not be in one.
    """

    def __init__(
        self,
        agent: AbstractAgent[Any, Any],
        *,
        limits: ToolLimits = NO_LIMITS,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._agent = agent
        self._limits = limits
        self._hide = hide
        self._stack = AsyncExitStack()

    @property
    def model(self) -> str:
        """The name of the model that it calls; empty when it names none."""
        model = self._agent.model
        return model.model_name if isinstance(model, Model) else model or ""

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._agent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Return the events of a run."""
        return self.run(request)

    async def run(self, request: RunRequest) -> AsyncGenerator[AgentEvent]:
        """Yield the events of a run, each as soon as it is there.

        Raises:
            ModelCallError: A model call failed, and how.
        """
        observer = Observer(self._limits, request.may_act)
        failure: Exception | None = None
        try:
            async with aclosing(self._events(request, observer)) as events:
                async for event in events:
                    yield event
        except (asyncio.CancelledError, GeneratorExit) as left:
            observer.close(left)
            raise
        except Exception as error:  # noqa: BLE001 # raised again below
            failure = model_call_error(error) or error
        observer.close(failure)
        if failure is not None:
            if isinstance(failure, ModelCallError):
                failure.log(self._hide)
                # What it was made of holds the provider's words, and a traceback shows it: in the trace too.
                failure.__cause__ = failure.__context__ = None
            raise failure

    async def _events(self, request: RunRequest, observer: Observer) -> AsyncGenerator[AgentEvent]:
        """Yield the events of a run, and how it finished."""
        translation = Translation()
        reason: FinishReasonName = "stop"
        async with self._agent.run_stream_events(
            request.message,
            message_history=messages_of(request.history),
            deps=request if self._agent.deps_type is RunRequest else None,
            # The second: system prompts are part of the history otherwise, and a session's turns hold none.
            capabilities=[observer, ReinjectSystemPrompt(), Approvals(request)],
        ) as events:
            try:
                async for event in events:
                    if isinstance(event, AgentRunResultEvent):
                        reason = _reason(event.result)
                        output = event.result.output
                        # None is the output of an agent that may say nothing, and has said nothing.
                        if output is not None and not isinstance(output, str):
                            yield TextDelta(to_json(output))
                        continue
                    observer.chunk(event)
                    ours = translation.feed(event)
                    if ours is not None:
                        yield ours
            except OutputTokenLimitExceeded:
                reason = "length"
            except UsageLimitExceeded as error:
                reason = "length" if "tokens_limit" in str(error) else "tool_limit"
            yield Finish(reason, usage_of(events.usage))


def adapt(found: object) -> object:
    """Return what an operator's module holds, one of Pydantic AI's agents adapted."""
    return PydanticAgent(found) if isinstance(found, AbstractAgent) else found


def _reason(result: AgentRunResult[Any]) -> FinishReasonName:
    """Return how the last answer of a run ended.

    Raises:
        ModelCallError: It did not come to its end.
    """
    word = (result.response.provider_details or {}).get("finish_reason")
    ending = result.response.finish_reason
    if isinstance(word, str) or ending is not None:
        # A word that Pydantic AI does not know, and that is not known here either, is no end.
        return finish_of(ending or ending_of(str(word)), word)
    return "stop"
