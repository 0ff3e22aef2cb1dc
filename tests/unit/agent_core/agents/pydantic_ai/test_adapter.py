"""Agents of Pydantic AI, as anybody writes them. Their model is a function here; all else is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import NoneType
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelRequest, SystemPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.openai import OpenAIProvider

from agent_core.agents import (
    AgentError,
    Finish,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
    Turn,
    Usage,
)
from agent_core.agents.loading import AgentSource, load_agent, model_of
from agent_core.agents.pydantic_ai import PydanticAgent, ToolLimits
from tests.support.scripted_endpoint import running_endpoint, says
from tests.support.spans import Spans, spans

__all__ = ["spans"]


def answering(*rounds: str | DeltaToolCalls) -> FunctionModel:
    """Return a model that says or calls this, round by round."""
    left = list(rounds)

    async def function(_: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        del info
        yield left.pop(0)

    return FunctionModel(stream_function=function, model_name="function")


def calling(tool: str, arguments: str = "{}", call_id: str = "c") -> DeltaToolCalls:
    return {0: DeltaToolCall(tool, arguments, tool_call_id=call_id)}


async def told(agent: Agent[Any, Any], request: RunRequest | None = None, **limits: Any) -> list[Any]:
    async with PydanticAgent(agent, limits=ToolLimits(**limits)) as adapted:
        return [event async for event in adapted(request or RunRequest("Hi"))]


def results_in(events: list[Any]) -> list[tuple[Any, bool]]:
    return [(event.result, event.is_error) for event in events if isinstance(event, ToolResult)]


async def test_an_agent_is_adapted_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """An operator names the `Agent` object, and it works."""
    (tmp_path / "my_agents.py").write_text(
        "from pydantic_ai import Agent\nfrom pydantic_ai.models.test import TestModel\n"
        "mine = Agent(TestModel(custom_output_text='Hello there'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    agent = load_agent(AgentSource("mine", "my_agents", "mine"))
    assert isinstance(agent, PydanticAgent)
    assert model_of(agent) == "test"
    events: list[Any] = [event async for event in agent(RunRequest("Hi"))]
    assert "".join(event.content for event in events[:-1]) == "Hello there"
    assert isinstance(events[-1], Finish)


async def test_a_tool_is_called_and_its_result_told(spans: Spans) -> None:
    """With arguments and result as JSON; one span for the call and one for each of the model's."""
    agent = Agent(answering(calling("double", '{"number": 4}'), "Eight."))

    @agent.tool_plain
    def double(number: int) -> dict[str, int]:
        return {"doubled": number * 2}

    events = await told(agent)
    assert events[:2] == [
        ToolStart("c", "double", '{"number": 4}'),
        ToolResult("c", "double", '{"doubled":8}'),
    ]
    assert events[2] == TextDelta("Eight.")
    assert len(spans.named("execute_tool double")) == 1
    assert len(spans.named("chat function")) == 2


def raises(error: Exception) -> Callable[[], str]:
    def tool() -> str:
        raise error

    return tool


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (RuntimeError("internal secret"), "The tool failed."),
        (AgentError("NOT_FOUND", "There is no such thing."), "There is no such thing."),
        (TimeoutError("internal secret"), "The tool took too long."),
    ],
)
async def test_a_failed_tool_is_no_failed_run(
    error: Exception, result: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is told and goes on; the exception's text stays in the log."""
    agent = Agent(answering(calling("tool"), "Sorry."), tools=[raises(error)])
    events = await told(agent)
    assert results_in(events) == [(result, True)]
    assert events[-2] == TextDelta("Sorry.")
    assert ("internal secret" in caplog.text) is ("internal secret" in str(error))


async def test_a_tool_that_wants_another_try_gets_only_so_many() -> None:
    """Then the run fails: the model can't use it."""
    agent = Agent(answering(*[calling("tool")] * 9), tools=[raises(ModelRetry("Again."))], retries=1)
    with pytest.raises(AgentError) as caught:
        await told(agent)
    assert caught.value.details["reason"] == "MODEL_MISBEHAVED"


async def test_a_tool_that_returns_no_json_is_an_error_result() -> None:
    """A clear one, for the user and the model."""

    def tool() -> Any:
        return object()

    events = await told(Agent(answering(calling("tool"), "Hm."), tools=[tool]))
    assert results_in(events) == [("The tool returned a object, which is not JSON.", True)]


async def test_a_tool_that_takes_too_long_is_cancelled() -> None:
    """The model is told."""
    cancelled = asyncio.Event()

    async def tool() -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
        return "never"

    events = await told(Agent(answering(calling("tool"), "Hm."), tools=[tool]), timeout_s=0.05)
    assert results_in(events) == [("The tool took too long.", True)]
    assert cancelled.is_set()


async def test_theirs_own_limit_is_a_limit_too() -> None:
    """Fifty model calls, unless an agent says otherwise: such a run ends as `tool_limit`."""
    agent = Agent(answering(*[calling("tool")] * 99), tools=[raises(RuntimeError("no"))])
    events = await told(agent)
    assert events[-1].reason == "tool_limit"


async def test_an_output_that_is_no_text_is_told_as_json() -> None:
    """Otherwise nobody would see it."""

    class City(BaseModel):
        name: str

    agent = Agent(TestModel(custom_output_args={"name": "Oslo"}), output_type=City)
    events = await told(agent)
    assert events[0] == TextDelta('{"name":"Oslo"}')


async def test_an_agent_that_may_say_nothing_says_nothing() -> None:
    """Its output is None then: no text, and no `null`."""
    assert await told(Agent(answering(""), output_type=[str, NoneType])) == [Finish("stop", Usage(50, 0))]


@pytest.mark.parametrize(
    ("word", "end"),
    [
        *(("stop", "stop"), ("end_turn", "stop"), ("max_tokens", "length"), ("MODEL_LENGTH", "length")),
        *(("abort", "MODEL_CUT_OFF"), ("a new word", "MODEL_CUT_OFF"), ("SAFETY", "CONTENT_FILTERED")),
        *(("error", "MODEL_FAILED"), ("content_filter", "CONTENT_FILTERED")),
    ],
)
async def test_words_for_the_end_that_pydantic_ai_does_not_know(
    word: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are understood for anybody's agent, also where the operator chose its model class."""
    async with running_endpoint(says("Hello", reason=word)) as endpoint:
        provider = OpenAIProvider(base_url=endpoint.url, api_key="k")
        agent = Agent(OpenAIChatModel("m", provider=provider))
        if end in {"stop", "length"}:
            assert await told(agent) == [TextDelta("Hello"), Finish(end, Usage(7, 3))]
            return
        with pytest.raises(AgentError) as caught:
            await told(agent)
    assert caught.value.details["reason"] == end
    assert word in caplog.text


async def test_system_prompts_hold_for_a_session_too() -> None:
    """Pydantic AI leaves them out when there is a history, for it takes them to be in there."""
    seen: list[ModelMessage] = []

    async def function(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        del info
        seen.extend(messages)
        yield "Aye."

    agent = Agent(FunctionModel(stream_function=function), system_prompt="You are a pirate.")
    await told(agent, RunRequest("Hi", history=(Turn("user", "a"), Turn("assistant", "b"))))
    assert isinstance(seen[0], ModelRequest)
    assert any(isinstance(part, SystemPromptPart) for part in seen[0].parts)


async def test_tools_may_know_the_request() -> None:
    """Where the agent says that its deps are a RunRequest."""
    agent = Agent(answering(calling("who"), "Ada."), deps_type=RunRequest)

    @agent.tool
    def who(ctx: RunContext[RunRequest]) -> str:
        return ctx.deps.user_id

    events = await told(agent, RunRequest("Who am I?", user_id="ada"))
    assert results_in(events) == [("ada", False)]


async def test_a_failed_call_of_any_model_is_mapped() -> None:
    """Not only of the configured one."""

    async def function(_: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        del info
        raise ModelHTTPError(503, "function", "internal secret")
        yield ""

    with pytest.raises(AgentError) as caught:
        await told(Agent(FunctionModel(stream_function=function)))
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)
    assert "internal secret" not in repr(caught.value)


async def test_a_bug_stays_a_bug() -> None:
    """The core tells users nothing of it."""

    async def function(_: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        del info
        raise KeyError("internal secret")
        yield ""

    with pytest.raises(KeyError):
        await told(Agent(FunctionModel(stream_function=function)))


@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_leaving_stops_the_model(way: str, spans: Spans) -> None:
    """Before the run has ended its model is cancelled, and its span says so."""
    stopped = asyncio.Event()

    async def function(_: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        del info
        try:
            yield "So far"
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    agent = PydanticAgent(Agent(FunctionModel(stream_function=function, model_name="function")))
    said = asyncio.Event()

    async def ask() -> None:
        async for _ in agent(RunRequest("Hi")):
            said.set()

    if way == "cancel":
        task = asyncio.create_task(ask())
        await said.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with aclosing(agent.run(RunRequest("Hi"))) as events:
            await anext(events)
    assert stopped.is_set()
    (span,) = spans.named("chat function")
    assert (span.attributes or {})["tokenwire.cancelled"] is True


async def test_it_is_entered_with_the_core() -> None:
    """So are its toolsets: servers that it talks to are started once, not for every run."""
    steps: list[str] = []

    class Entered(Agent[None, str]):
        async def __aenter__(self) -> Any:
            steps.append("entered")
            return await super().__aenter__()

        async def __aexit__(self, *args: object) -> bool | None:
            steps.append("left")
            return await super().__aexit__(*args)

    async with PydanticAgent(Entered(TestModel())) as adapted:
        steps.extend([type(event).__name__ async for event in adapted(RunRequest("Hi"))][-1:])
    assert steps[0] == "entered"
    assert steps[-1] == "left"


@pytest.mark.parametrize(
    ("model", "name"), [(None, ""), ("openai:gpt-5", "openai:gpt-5"), (TestModel(), "test")]
)
def test_the_model_is_named(model: Any, name: str) -> None:
    """As far as the agent knows it."""
    assert PydanticAgent(Agent(model, defer_model_check=True)).model == name
