"""An `Agent` of OpenAI's Agents SDK as an agent of this core."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from agent_core.agents.events import (
    AgentError,
    AgentEvent,
    Custom,
    Finish,
    FinishReasonName,
    RunRequest,
    Usage,
)
from agent_core.agents.finish_reasons import Ending, ending_of, finish_of
from agent_core.agents.foreign import Telling
from agent_core.agents.model_failures import ModelCallError
from agent_core.agents.openai_agents.endings import watch_chat_completions, word_of

REFUSAL: Final = "response.refusal.delta"
TEXT: Final = ("response.output_text.delta", REFUSAL)
REASONING: Final = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
RESPONSES: Final = ("response.created", "response.completed", "response.incomplete", "response.failed")


class OpenAIAgent:
    """An agent of the SDK's. Its tools get the request as their `context`.

    Args:
        agent: Theirs.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._sdk: Any = importlib.import_module("agents")
        watch_chat_completions()

    @property
    def model(self) -> str:
        """The name of the model that it calls; empty when it names none."""
        model = self._agent.model
        return model if isinstance(model, str) else getattr(model, "model", "")

    def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Return the events of a run."""
        return self.run(request)

    async def run(self, request: RunRequest) -> AsyncGenerator[AgentEvent]:
        """Yield the events of a run, each as soon as it is there.

        Raises:
            AgentError: A guardrail has stopped it.
            ModelCallError: Its last answer was cut off or withheld, or its provider failed.
        """
        translation = Translation()
        turns = [{"role": turn.role, "content": turn.content} for turn in request.history]
        asked = [*turns, {"role": "user", "content": request.message}]
        result = self._sdk.Runner.run_streamed(self._agent, asked, context=request)
        reason: FinishReasonName | None = None
        try:
            async with aclosing(result.stream_events()) as events:
                async for event in events:
                    for ours in translation.feed(event):
                        yield ours
        except self._sdk.MaxTurnsExceeded:
            reason = "tool_limit"
        except (
            self._sdk.InputGuardrailTripwireTriggered,
            self._sdk.OutputGuardrailTripwireTriggered,
        ) as error:
            raise AgentError(
                "FAILED_PRECONDITION",
                "The agent's rules do not allow this answer.",
                details={"reason": "GUARDRAIL"},
            ) from error
        except self._sdk.AgentsException:
            # Misbehaviour for the SDK, and told better as what it was: too long, filtered, failed.
            if translation.is_whole:
                raise
        finally:
            result.cancel()  # its task would go on without anybody who reads
        used = result.context_wrapper.usage
        known = used.input_tokens or used.output_tokens  # 0 stands for what no provider has told
        usage = Usage(used.input_tokens, used.output_tokens) if known else None
        yield Finish(reason or translation.finish(), usage)


class Translation:
    """The SDK's events as those of an agent. No I/O, no waiting."""

    def __init__(self) -> None:
        self._telling = Telling()
        self._agent = ""
        self._response: Any = None

    @property
    def is_whole(self) -> bool:
        """Whether the last answer came to an end, as far as is known."""
        return self._ending() in {"stop", "tool_call"}

    def finish(self) -> FinishReasonName:
        """Return how the run finishes: as its last answer did; `stop` where no model has told.

        Raises:
            ModelCallError: The last answer was cut off or withheld, or its provider failed. It is in the log.
        """
        said = getattr(getattr(self._response, "error", None), "message", None)
        try:
            return finish_of(self._ending(), said or word_of(self._response))
        except ModelCallError as error:
            error.log()
            raise

    def _ending(self) -> Ending | None:
        """Return how the last answer ended."""
        word = word_of(self._response)
        return ending_of(word) if word else "stop"

    def feed(self, event: Any) -> Iterator[AgentEvent]:
        """Yield what an event of theirs means: mostly one, often none."""
        if event.type == "raw_response_event":
            yield from self._raw(event.data)
        elif event.type == "run_item_stream_event":
            yield from self._item(event.name, event.item)
        elif event.type == "agent_updated_stream_event":
            before, self._agent = self._agent, event.new_agent.name
            if before:
                yield Custom("handoff", {"from": before, "to": self._agent})

    def _raw(self, data: Any) -> Iterator[AgentEvent]:
        """Yield a piece of what the model says or thinks."""
        if data.type in RESPONSES:
            self._response = data.response
        elif data.type == REFUSAL and self._ending() == "content_filter":
            pass  # the SDK's own words for it
        elif data.type in TEXT:
            yield from self._telling.text(data.delta)
        elif data.type in REASONING:
            yield from self._telling.reasoning(data.delta)

    def _item(self, name: str, item: Any) -> Iterator[AgentEvent]:
        """Yield the beginning or the end of a tool call."""
        call_id = _field(item.raw_item, "call_id") or _field(item.raw_item, "id")
        tool = _field(item.raw_item, "name") or _field(item.raw_item, "type")
        if name == "tool_called":
            yield from self._telling.tool_start(call_id, tool, _field(item.raw_item, "arguments"))
        elif name == "tool_output":
            yield from self._telling.tool_result(call_id, tool, item.output)


def adapt(found: object) -> object:
    """Return what an operator's module holds, an agent of the SDK adapted.

    A package of the operator's own may be called `agents` as well: what it holds is left as it is.
    """
    sdk: Any = importlib.import_module("agents")
    is_agent = hasattr(sdk, "Runner") and isinstance(found, sdk.Agent)
    return OpenAIAgent(found) if is_agent else found


def _field(item: Any, name: str) -> str:
    """Return a field of what the model has sent: an object, or a mapping. Empty where it has none."""
    value = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    return value if isinstance(value, str) else ""
