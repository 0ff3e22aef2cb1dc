"""The assistant with a configured model, against a scripted endpoint: a fake behind a real socket.

What a real server can't be made to do on demand: call tools, refuse, send nonsense, stall.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from traceback import format_exception
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import SecretStr

from agent_core.agents import (
    AgentError,
    Finish,
    ReasoningDelta,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
    Turn,
    Usage,
)
from agent_core.agents.endpoint.assistant import EndpointAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.scripted_endpoint import (
    KEY,
    MODEL,
    Endpoint,
    Exchange,
    Step,
    calls,
    hangs_up,
    just_ends,
    refuses,
    running_endpoint,
    says,
    sends,
    stalls,
)
from tests.support.spans import Spans, spans

__all__ = ["spans"]

WITHIN_S = 20.0
"""Generous: what it bounds takes milliseconds."""

SUM = ("calculate", '{"expression":"17 * 23"}')


@asynccontextmanager
async def assistant_with(*script: Step, **settings: Any) -> AsyncIterator[tuple[EndpointAssistant, Endpoint]]:
    given = {"key": SecretStr(KEY), "tools": False, **settings}
    async with (
        running_endpoint(*script) as endpoint,
        EndpointAssistant(EndpointSettings(url=endpoint.url, **given)) as assistant,
        asyncio.timeout(WITHIN_S),
    ):
        yield assistant, endpoint


async def told(assistant: EndpointAssistant, message: str = "Hi", **more: Any) -> list[Any]:
    return [event async for event in assistant(RunRequest(message, **more))]


async def failed(assistant: EndpointAssistant) -> tuple[list[Any], AgentError]:
    """Return what was said before the failure, and the failure."""
    events: list[Any] = []
    try:
        async for event in assistant(RunRequest("Hi")):
            events.append(event)  # noqa: PERF401 # what came before the failure counts
    except AgentError as error:
        return events, error
    raise AssertionError(f"no failure after {events}")


def text_of(events: list[Any]) -> str:
    return "".join(event.content for event in events if isinstance(event, TextDelta))


async def test_an_answer_is_told_piece_by_piece() -> None:
    """Each chunk of text is one delta; the usage and the finish reason come last."""
    async with assistant_with(says("One", " two", " three")) as (assistant, endpoint):
        events = await told(assistant)
        assert assistant.model == MODEL
        assert events == [
            TextDelta("One"),
            TextDelta(" two"),
            TextDelta(" three"),
            Finish("stop", Usage(7, 3)),
        ]
        asked = endpoint.asked[0]
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.body["stream"] is True
        assert "tools" not in asked.body
        assert "max_tokens" not in asked.body


async def test_nothing_is_held_back() -> None:
    """The first delta is there while the endpoint has not sent the second."""
    go_on = asyncio.Event()

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(content="First")
        await go_on.wait()
        await exchange.chunk(content=" last")
        await exchange.finish()

    async with assistant_with(step) as (assistant, _):
        events: Any = assistant(RunRequest("Hi"))
        assert await anext(events) == TextDelta("First")
        go_on.set()
        assert text_of([event async for event in events]) == " last"


async def test_reasoning_is_told_apart() -> None:
    """What a model thinks is no part of the answer."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(reasoning_content="Let me")
        await exchange.chunk(reasoning_content=" think.")
        await exchange.chunk(content="Yes.")
        await exchange.finish(tokens=None)

    async with assistant_with(step) as (assistant, _):
        events = await told(assistant)
    assert events == [
        ReasoningDelta("Let me"),
        ReasoningDelta(" think."),
        TextDelta("Yes."),
        Finish("stop", None),
    ]


async def test_an_answer_that_is_too_long_ends_as_such() -> None:
    """The provider's `length` is ours, and the limit reaches the provider."""
    async with assistant_with(says("One", reason="length"), max_tokens=5) as (assistant, endpoint):
        assert (await told(assistant))[-1] == Finish("length", Usage(7, 3))
        assert endpoint.asked[0].body["max_tokens"] == 5


async def test_the_history_is_given_to_the_model() -> None:
    """Earlier turns come before the message, behind the instructions."""
    history = (Turn("user", "I am Ada."), Turn("assistant", "Hello, Ada."))
    async with assistant_with(says("Ada.")) as (assistant, endpoint):
        await told(assistant, "Who am I?", history=history)
        messages = endpoint.messages()
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in messages[1:]] == ["I am Ada.", "Hello, Ada.", "Who am I?"]


async def test_tools_are_called_and_shown(spans: Spans) -> None:
    """Two rounds with real tools: the database and the calculator answer, and the model gets their words."""
    script = (
        calls(("list_portfolios", "{}"), SUM, text="Let me see."),
        calls(SUM),
        says("There", " you are."),
    )
    async with assistant_with(*script, tools=True) as (assistant, endpoint):
        events = await told(assistant)
        assert {tool["function"]["name"] for tool in endpoint.asked[0].body["tools"]} == {
            *("list_portfolios", "holdings", "nav", "performance", "calculate")
        }
        returned = [message for message in endpoint.messages() if message["role"] == "tool"]
    starts = [event for event in events if isinstance(event, ToolStart)]
    results = {event.call_id: event for event in events if isinstance(event, ToolResult)}
    assert [start.tool for start in starts] == ["list_portfolios", "calculate", "calculate"]
    # The endpoint begins to count anew in each answer; a run's followers must not see one id twice.
    assert [start.call_id for start in starts] == ["call_0", "call_1", "call_0#2"]
    assert [json.loads(str(start.args)) for start in starts][1:] == [{"expression": "17 * 23"}] * 2
    assert not any(result.is_error for result in results.values())
    assert results["call_1"].result == "391"
    portfolios = json.loads(str(results["call_0"].result))
    assert {"code", "name", "base_currency", "benchmark"} <= set(portfolios[0])
    assert len(returned) == 3
    assert returned[1]["content"] == "391"
    # What is said after tools is a new paragraph; usage is the sum of three calls.
    assert text_of(events) == "Let me see.\n\nThere you are."
    assert events[-1] == Finish("stop", Usage(21, 9))
    assert len(spans.named(f"chat {MODEL}")) == 3
    assert len(spans.named("execute_tool calculate")) == 2
    finished = [dict(span.attributes or {}) for span in spans.named(f"chat {MODEL}")]
    assert [each["gen_ai.response.finish_reasons"] for each in finished] == [
        *(("tool_calls",), ("tool_calls",), ("stop",))
    ]


async def test_a_tool_that_refuses_tells_the_model_why() -> None:
    """Its words are an error's result for the user too, and the run goes on."""
    script = (
        calls(("calculate", '{"expression":"1/0"}'), ("nav", '{"portfolio":"Atlantis"}')),
        says("I could not."),
    )
    async with assistant_with(*script, tools=True) as (assistant, _):
        events = await told(assistant)
    results = [event for event in events if isinstance(event, ToolResult)]
    assert all(result.is_error for result in results)
    assert "divides by zero" in str(results)
    assert "Thames Value" in str(results)  # it names those that there are
    assert text_of(events) == "I could not."


@pytest.mark.parametrize("arguments", ["{}", '{"expression":', '{"expression":[1]}', "nonsense"])
async def test_wrong_arguments_are_told_to_the_model(arguments: str) -> None:
    """It may try again; what it said is shown as it was."""
    script = (calls(("calculate", arguments)), calls(SUM), says("391."))
    async with assistant_with(*script, tools=True) as (assistant, _):
        events = await told(assistant)
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.is_error for result in results] == [True, False]
    assert text_of(events) == "391."


async def test_a_model_that_never_gets_its_calls_right_ends_the_run() -> None:
    """After two more attempts; no call of an unknown tool goes on for ever."""
    script = [calls(("no_such_tool", "{}"))] * 5
    async with assistant_with(*script, tools=True) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert (error.code, error.details["reason"]) == ("INTERNAL", "MODEL_MISBEHAVED")
        assert len(endpoint.asked) == 3


async def test_a_run_has_only_so_many_tool_calls() -> None:
    """One more ends the run as `tool_limit`: each call has its result, and the model is not called again."""
    async with assistant_with(calls(SUM), calls(SUM, SUM), tools=True, max_tool_calls=2) as (
        assistant,
        endpoint,
    ):
        events = await told(assistant)
        assert len(endpoint.asked) == 2
    results = [event for event in events if isinstance(event, ToolResult)]
    assert sorted(result.is_error for result in results) == [False, False, True]
    assert events[-1] == Finish("tool_limit", Usage(14, 6))


async def test_as_many_tool_calls_as_allowed_are_fine() -> None:
    """The limit is met, not passed: the model gets to answer."""
    async with assistant_with(calls(SUM), says("391."), tools=True, max_tool_calls=1) as (assistant, _):
        assert (await told(assistant))[-1] == Finish("stop", Usage(14, 6))


@pytest.mark.parametrize(
    ("step", "code", "reason", "retryable"),
    [
        (refuses(401), "UNAUTHENTICATED", "MODEL_KEY_REFUSED", False),
        (refuses(403), "PERMISSION_DENIED", "MODEL_NOT_ALLOWED", False),
        (refuses(404), "NOT_FOUND", "MODEL_UNKNOWN", False),
        (refuses(404, {"code": "model_not_found"}), "NOT_FOUND", "MODEL_UNKNOWN", False),
        (refuses(400), "INVALID_ARGUMENT", "MODEL_REQUEST_REFUSED", False),
        (refuses(422), "INVALID_ARGUMENT", "MODEL_REQUEST_REFUSED", False),
        (refuses(400, {"code": "context_length_exceeded"}), "INVALID_ARGUMENT", "CONTEXT_OVERFLOW", False),
        (refuses(400, {"type": "exceed_context_size_error"}), "INVALID_ARGUMENT", "CONTEXT_OVERFLOW", False),
        (refuses(402), "RESOURCE_EXHAUSTED", "MODEL_QUOTA", False),
        (refuses(408), "DEADLINE_EXCEEDED", "MODEL_TIMEOUT", True),
        (refuses(429), "RESOURCE_EXHAUSTED", "MODEL_RATE_LIMIT", True),
        (refuses(429, {"code": "insufficient_quota"}), "RESOURCE_EXHAUSTED", "MODEL_QUOTA", False),
        (refuses(500), "UNAVAILABLE", "MODEL_FAILED", True),
        (refuses(503), "UNAVAILABLE", "MODEL_FAILED", True),
        (refuses(418), "INVALID_ARGUMENT", "MODEL_REQUEST_REFUSED", False),
        (sends('{"error":{"message":"x","code":500}}'), "UNAVAILABLE", "MODEL_FAILED", True),
        (sends("{nonsense"), "INTERNAL", "MODEL_ANSWER_MALFORMED", False),
        (sends("[]"), "INTERNAL", "MODEL_ANSWER_MALFORMED", False),
        (sends('"text"'), "INTERNAL", "MODEL_ANSWER_MALFORMED", False),
        (sends('{"choices":[7]}'), "INTERNAL", "MODEL_ANSWER_MALFORMED", False),
        (hangs_up(), "UNAVAILABLE", "MODEL_CUT_OFF", True),
        (says("No", reason="content_filter"), "FAILED_PRECONDITION", "CONTENT_FILTERED", False),
    ],
)
async def test_failures_are_told_by_code(
    step: Step, code: str, reason: str, retryable: bool, caplog: pytest.LogCaptureFixture, spans: Spans
) -> None:
    """Each with what may be tried again, in words for users; the provider's own are in the log alone."""
    async with assistant_with(step, retries=0) as (assistant, _):
        _, error = await failed(assistant)
    assert (error.code, error.details["reason"], error.retryable) == (code, reason, retryable)
    assert "internal words" not in repr(error) + repr(error.details)
    assert f"A model call failed: {reason}" in caplog.text
    assert KEY not in caplog.text
    (span,) = spans.named(f"chat {MODEL}")
    if reason != "CONTENT_FILTERED":
        assert (span.attributes or {})["error.type"] == code
        assert span.status.status_code is StatusCode.ERROR
        assert "internal words" not in str(span.to_json())


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection is told as such."""
    async with running_endpoint() as endpoint:
        url = endpoint.url
    settings = EndpointSettings(url=url, name="any", retries=1)
    async with asyncio.timeout(WITHIN_S), EndpointAssistant(settings) as assistant:
        _, error = await failed(assistant)
    assert (error.code, error.details["reason"], error.retryable) == (
        "UNAVAILABLE",
        "MODEL_UNAVAILABLE",
        True,
    )


@pytest.mark.parametrize("first", [refuses(500), refuses(503), refuses(429, retry_after="0"), hangs_up()])
async def test_a_failure_before_the_first_chunk_is_tried_again(first: Step) -> None:
    """The user sees nothing of it."""
    async with assistant_with(first, first, says("Fine.")) as (assistant, endpoint):
        assert text_of(await told(assistant)) == "Fine."
        assert len(endpoint.asked) == 3


async def test_attempts_are_bounded() -> None:
    """After the last one the failure is told."""
    async with assistant_with(*[refuses(500)] * 9, retries=2) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert error.code == "UNAVAILABLE"
        assert len(endpoint.asked) == 3


async def test_retry_after_is_honoured() -> None:
    """The pause is the one that the endpoint asked for."""
    async with assistant_with(refuses(429, retry_after="1"), says("Fine.")) as (assistant, _):
        began = asyncio.get_running_loop().time()
        assert text_of(await told(assistant)) == "Fine."
        assert asyncio.get_running_loop().time() - began >= 1


async def test_a_long_retry_after_is_told_instead() -> None:
    """Nobody waits for an hour; the caller gets to know when."""
    async with assistant_with(refuses(429, retry_after="3600")) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert (error.code, error.details["retry_after_s"]) == ("RESOURCE_EXHAUSTED", "3600")
        assert len(endpoint.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_another_attempt_can_not_mend_is_not_tried_again(status: int) -> None:
    """It is told at once."""
    async with assistant_with(*[refuses(status)] * 3) as (assistant, endpoint):
        await failed(assistant)
        assert len(endpoint.asked) == 1


async def test_after_the_first_event_nothing_is_tried_again() -> None:
    """A rate limit in the second round is told: the user has seen what came before."""
    script = (calls(SUM), refuses(429, retry_after="0"), says("never said"))
    async with assistant_with(*script, tools=True) as (assistant, endpoint):
        events, error = await failed(assistant)
        assert [type(event) for event in events] == [ToolStart, ToolResult]
        assert (error.code, error.details["reason"]) == ("RESOURCE_EXHAUSTED", "MODEL_RATE_LIMIT")
        assert len(endpoint.asked) == 2


@pytest.mark.parametrize("step", [hangs_up("So", " far"), just_ends("So", " far")])
async def test_an_answer_that_breaks_off_is_never_a_whole_one(step: Step) -> None:
    """What came is told, and then that it broke off, in whichever way the connection ended."""
    async with assistant_with(step, says("never said")) as (assistant, endpoint):
        events, error = await failed(assistant)
        assert text_of(events) == "So far"
        assert not any(isinstance(event, Finish) for event in events)
        assert (error.code, error.details["reason"], error.retryable) == (
            "UNAVAILABLE",
            "MODEL_CUT_OFF",
            True,
        )
        assert len(endpoint.asked) == 1


async def test_nonsense_in_the_middle_ends_the_run() -> None:
    """What came before it is told."""
    async with assistant_with(sends("{nonsense", then=("So far",))) as (assistant, _):
        events, error = await failed(assistant)
    assert text_of(events) == "So far"
    assert (error.code, error.details["reason"]) == ("INTERNAL", "MODEL_ANSWER_MALFORMED")


@pytest.mark.parametrize("step", [stalls(), stalls("So far"), stalls("So far", comments=True)])
async def test_a_stall_ends_the_run(step: Step) -> None:
    """Whether before the first chunk or after it; comments are no chunks. The request is closed."""
    async with assistant_with(step, stall_s=0.3) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert (error.code, error.details["reason"], error.retryable) == (
            *("DEADLINE_EXCEEDED", "MODEL_STALLED", True),
        )
        await endpoint.gone.wait()
        assert len(endpoint.asked) == 1


@pytest.mark.parametrize("pieces", [(), ("So far",)])
async def test_cancelling_closes_the_request(pieces: tuple[str, ...], spans: Spans) -> None:
    """Before the first chunk and after it: the endpoint sees that nobody wants the answer."""
    async with assistant_with(stalls(*pieces)) as (assistant, endpoint):
        task = asyncio.create_task(told(assistant))
        while not endpoint.asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await endpoint.gone.wait()
    (span,) = spans.named(f"chat {MODEL}")
    assert (span.attributes or {})["tokenwire.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET


async def test_closing_the_events_closes_the_request() -> None:
    """A reader that leaves after the first piece is as good as a cancellation."""
    async with assistant_with(stalls("So far")) as (assistant, endpoint):
        async with aclosing(assistant(RunRequest("Hi"))) as events:  # type: ignore[type-var]
            assert await anext(events) == TextDelta("So far")
        await endpoint.gone.wait()


async def test_cancelling_while_it_waits_to_try_again() -> None:
    """The pause ends at once, and no further attempt is made."""
    async with assistant_with(refuses(429, retry_after="15"), says("never")) as (assistant, endpoint):
        task = asyncio.create_task(told(assistant))
        while not endpoint.asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(endpoint.asked) == 1


async def test_a_slow_first_chunk_is_seen_in_the_trace(spans: Spans) -> None:
    """The span of the call names the server, the models, the usage, and how long the first chunk took."""
    async with assistant_with(says("Late.", before_s=0.5)) as (assistant, endpoint):
        await told(assistant)
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
    (span,) = spans.named(f"chat {MODEL}")
    attributes = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert 0.5 <= float(str(attributes.pop("gen_ai.response.time_to_first_chunk"))) < WITHIN_S
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai-compatible",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
        "server.port": port,
    }


async def test_a_session_that_is_too_long_loses_its_older_half() -> None:
    """The model is asked again with less, until it can read it all."""
    overflow = refuses(400, {"code": "context_length_exceeded"})
    history = (Turn("user", "a"), Turn("assistant", "b")) * 2
    async with assistant_with(overflow, overflow, says("Fine.")) as (assistant, endpoint):
        events = await told(assistant, "c", history=history)
        asked = [[message["content"] for message in endpoint.messages(call)][1:] for call in range(3)]
    assert text_of(events) == "Fine."
    assert asked == [["a", "b", "a", "b", "c"], ["a", "b", "c"], ["c"]]


@pytest.mark.parametrize(
    "step", [refuses(401, {"message": f"bad key {KEY}"}), refuses(500), hangs_up("So far"), sends(f"{{{KEY}")]
)
async def test_the_key_is_nowhere(step: Step, caplog: pytest.LogCaptureFixture, spans: Spans) -> None:
    """Not in the most talkative log, no repr, traceback or trace, even where the endpoint quotes it."""
    caplog.set_level(logging.DEBUG)
    async with assistant_with(step, says("Hi"), retries=0, tools=True) as (assistant, endpoint):
        _, error = await failed(assistant)
        assert endpoint.asked[0].headers["authorization"] == f"Bearer {KEY}"
        shown = [error, error.details, *format_exception(error)]
        await told(assistant)
        settings = EndpointSettings(url=endpoint.url, key=SecretStr(KEY))
        shown += [assistant, assistant._agent, assistant._client, settings]
    text = "".join(f"{each!r} {each}" for each in shown)
    trace = "".join(span.to_json() for span in spans.all())
    assert KEY not in text
    assert KEY not in caplog.text
    assert KEY not in trace


async def test_one_of_several_models_has_to_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """Without a choice runs fail, and the log names the models."""
    async with running_endpoint(says("Hi")) as endpoint:
        endpoint.models = {"data": [{"id": "large"}, {"id": "small"}]}
        async with EndpointAssistant(EndpointSettings(url=endpoint.url, tools=False)) as assistant:
            _, error = await failed(assistant)
            assert (error.code, error.details["reason"]) == ("FAILED_PRECONDITION", "MODEL_NOT_CHOSEN")
            assert "large, small" in caplog.text
            # The operator has removed one.
            endpoint.models = {"data": [{"id": "small"}]}
            assert text_of(await told(assistant)) == "Hi"
            assert endpoint.asked[0].body["model"] == "small"


@pytest.mark.parametrize("models", [{"data": [{"id": 7}]}, {"data": [7]}, {"data": 7}, [], "text", None, {}])
async def test_an_endpoint_that_lists_nonsense_does_not_stop_the_core(models: Any) -> None:
    """A configured model is called all the same; without one, runs fail in order."""
    async with running_endpoint(says("Hi")) as endpoint:
        endpoint.models = models
        async with EndpointAssistant(EndpointSettings(url=endpoint.url, tools=False)) as assistant:
            _, error = await failed(assistant)
            assert error.code in {"FAILED_PRECONDITION", "INTERNAL"}
        named = EndpointSettings(url=endpoint.url, name="any", tools=False)
        async with EndpointAssistant(named) as assistant:
            assert text_of(await told(assistant)) == "Hi"
