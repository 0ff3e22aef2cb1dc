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
from agent_core.agents.finish_reasons import ending_of
from agent_core.agents.foreign import Telling

TEXT: Final = ("response.output_text.delta", "response.refusal.delta")
REASONING: Final = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
ENDS: Final = ("response.completed", "response.incomplete")


class OpenAIAgent:
    """An agent of the SDK's. Its tools get the request as their `context`.

    Args:
        agent: Theirs.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._sdk: Any = importlib.import_module("agents")

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
        finally:
            result.cancel()  # its task would go on without anybody who reads
        used = result.context_wrapper.usage
        known = used.input_tokens or used.output_tokens  # 0 stands for what no provider has told
        usage = Usage(used.input_tokens, used.output_tokens) if known else None
        yield Finish(reason or translation.reason, usage)


class Translation:
    """The SDK's events as those of an agent. No I/O, no waiting."""

    def __init__(self) -> None:
        self.reason: FinishReasonName = "stop"
        """Why the last answer ended."""
        self._telling = Telling()
        self._agent = ""

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
        if data.type in TEXT:
            yield from self._telling.text(data.delta)
        elif data.type in REASONING:
            yield from self._telling.reasoning(data.delta)
        elif data.type in ENDS:
            details = data.response.incomplete_details
            self.reason = "length" if details and ending_of(details.reason or "") == "length" else "stop"

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
