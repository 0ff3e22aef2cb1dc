"""The assistant with a configured model, against a scripted endpoint: a fake behind a real socket.

What a real server can't be made to do on demand: call tools, refuse, send nonsense, stall.
"""

from __future__ import annotations

import asyncio
import logging
from traceback import format_exception
from typing import Any

import pytest
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from agent_core.agents import (
    Finish,
    ReasoningDelta,
    RunRequest,
    TextDelta,
    Turn,
    Usage,
)
from agent_core.agents.endpoint.assistant import EndpointAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.endpoint_assistant import TOOLS, WITHIN_S, assistant_with, failed, text_of, told
from tests.support.scripted_endpoint import (
    KEY,
    MODEL,
    Exchange,
    Step,
    hangs_up,
    refuses,
    running_endpoint,
    says,
    sends,
)
from tests.support.spans import Spans, spans

__all__ = ["spans"]


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
    async with assistant_with(step, says("Hi"), retries=0, tools=TOOLS) as (assistant, endpoint):
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
        async with EndpointAssistant(EndpointSettings(url=endpoint.url, tools="off")) as assistant:
            _, error = await failed(assistant)
            assert (error.code, error.details["reason"]) == ("FAILED_PRECONDITION", "MODEL_NOT_CHOSEN")
            assert "large, small" in caplog.text
            # The operator has removed one.
            endpoint.models = {"data": [{"id": "small"}]}
            assert text_of(await told(assistant)) == "Hi"
            assert endpoint.asked[0].body["model"] == "small"


def page(body: str, kind: str) -> Step:
    """Return a step that answers with a document."""

    async def step(exchange: Exchange) -> None:
        await exchange.head(kind=kind)
        await exchange.send(body.encode())

    return step


@pytest.mark.parametrize(
    ("listing", "said", "reason"),
    [
        (
            refuses(308, location="https://models.example/v1/models"),
            "https://models.example/v1/models: is the base URL wrong?",
            "MODEL_URL_WRONG",
        ),
        (page("<html>Welcome to nginx</html>", "text/html"), "Welcome to nginx", "MODEL_URL_WRONG"),
        (page("it works", "text/plain"), "it works", "MODEL_ANSWER_MALFORMED"),
    ],
    ids=["redirect", "page", "text"],
)
async def test_a_wrong_base_url_is_told_at_the_start(
    listing: Step, said: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what the endpoint answered, before anybody asks anything."""
    async with running_endpoint() as endpoint:
        endpoint.listing = listing
        async with EndpointAssistant(EndpointSettings(url=endpoint.url, tools="off")) as assistant:
            assert said in caplog.text
            _, error = await failed(assistant)
    assert error.details["reason"] == reason


@pytest.mark.parametrize(
    "text", ["x" * 1_200_000, "\U0001f600" * 300_000, "a\0\u2028\u0085\ufeff\r\n" * 20_000]
)
async def test_large_deltas_come_whole(text: str) -> None:
    """In one chunk, text and reasoning."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(reasoning=text)
        await exchange.chunk(content=text)
        await exchange.finish()

    async with assistant_with(step) as (assistant, _):
        assert await told(assistant) == [
            ReasoningDelta(text),
            TextDelta(text),
            Finish("stop", Usage(7, 3)),
        ]


@pytest.mark.parametrize("models", [{"data": [{"id": 7}]}, {"data": [7]}, {"data": 7}, [], "text", None, {}])
async def test_an_endpoint_that_lists_nonsense_does_not_stop_the_core(models: Any) -> None:
    """A configured model is called all the same; without one, runs fail in order."""
    async with running_endpoint(says("Hi")) as endpoint:
        endpoint.models = models
        async with EndpointAssistant(EndpointSettings(url=endpoint.url, tools="off")) as assistant:
            _, error = await failed(assistant)
            assert error.code in {"FAILED_PRECONDITION", "INTERNAL"}
        named = EndpointSettings(url=endpoint.url, name="any", tools="off")
        async with EndpointAssistant(named) as assistant:
            assert text_of(await told(assistant)) == "Hi"
