"""What becomes of a run when its model's endpoint refuses, breaks off, stalls, or is left.

The endpoint is scripted: a fake behind a real socket.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from opentelemetry.trace import StatusCode

from agent_core.agents import (
    Finish,
    RunRequest,
    TextDelta,
    ToolResult,
    ToolStart,
)
from agent_core.agents.endpoint.assistant import EndpointAssistant
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.endpoint_assistant import SUM, TOOLS, WITHIN_S, assistant_with, failed, text_of, told
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
    async with assistant_with(*script, tools=TOOLS) as (assistant, endpoint):
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


def questions_for_usage(endpoint: Endpoint) -> list[bool]:
    """Return which model calls asked for the usage."""
    return ["stream_options" in exchange.body for exchange in endpoint.asked]


REFUSES_OPTIONS = refuses(400, {"message": "Unknown parameter: stream_options"})


async def test_a_refusal_that_only_quotes_a_user_does_not_end_the_usage() -> None:
    """Without the question it is refused too: then that was not the reason."""
    async with assistant_with(REFUSES_OPTIONS, REFUSES_OPTIONS, says("Hello"), retries=0) as (
        assistant,
        endpoint,
    ):
        _, error = await failed(assistant)
        assert error.details["reason"] == "MODEL_REQUEST_REFUSED"
        assert text_of(await told(assistant)) == "Hello"
        assert questions_for_usage(endpoint) == [True, False, True]


async def test_runs_that_begin_together_learn_together_that_there_is_no_usage() -> None:
    """Each repeats its own request: what one has learned is no refusal of the other's."""
    both = asyncio.Barrier(2)

    async def refuses_both(exchange: Exchange) -> None:
        await both.wait()
        await REFUSES_OPTIONS(exchange)

    script = (refuses_both, refuses_both, says("Hello"), says("Hello"), says("Hello"))
    async with assistant_with(*script, retries=0) as (assistant, endpoint):
        answers = await asyncio.gather(told(assistant), told(assistant))
        assert [text_of(events) for events in (*answers, await told(assistant))] == ["Hello"] * 3
        assert questions_for_usage(endpoint) == [True, True, False, False, False]
