"""One span for a whole reconnect, whatever it takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from agent_core.log.errors import LogAwayError
from agent_core.runs.manager import RunManager
from edge.telemetry.client_span import ReconnectSpan
from tests.support.spans import Spans, spans
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.usefixtures("transport")

__all__ = ["spans"]

GET = "GET /api/runs/{run_id}/events"
FOLLOW_RUN = "tokenwire.v1.AgentService/FollowRun"


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The core refuses as many follows as there are members, as it does while its log is away."""
    left: list[None] = []
    follow = RunManager.follow

    async def refuse(self: RunManager, order: Any) -> Any:
        if left:
            left.pop()
            raise LogAwayError("as if")
        return await follow(self, order)

    monkeypatch.setattr(RunManager, "follow", refuse)
    return left


async def first_text(stack: Stack, run_id: str) -> None:
    """Follow a run until a first text comes."""
    async with stack.client.stream("GET", f"/api/runs/{run_id}/events") as response:
        async for part in response.aiter_text():
            if "text_delta" in part:
                return


def of_trace(spans: Spans, root: ReadableSpan) -> list[ReadableSpan]:
    assert root.context is not None
    trace_id = root.context.trace_id
    return [span for span in spans.all() if span.context is not None and span.context.trace_id == trace_id]


async def test_a_log_that_is_away_costs_a_stream_one_span_and_its_core_none(
    spans: Spans, refusals: list[None]
) -> None:
    """The refused call and the one that works have their own spans, and all hang together."""
    async with running_stack() as stack:
        run_id = await stack.start(agent="slow")
        refusals.extend([None] * 4)
        await first_text(stack, run_id)
        (request,) = await spans.wait_for(GET)
        await stack.client.post(f"/api/runs/{run_id}/cancel")
        await spans.all_ended()
    trace = of_trace(spans, request)
    ids = {span.context.span_id for span in trace if span.context}
    assert [span.name for span in trace if span.parent is None or span.parent.span_id not in ids] == [GET]
    (reconnect,) = [span for span in trace if span.name == "reconnect"]
    assert reconnect.attributes == {"tokenwire.run.id": run_id, "tokenwire.reconnect.attempts": 4}
    assert (reconnect.kind, reconnect.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    calls = [span for span in trace if span.name == FOLLOW_RUN]
    assert [(call.kind.name, call.status.status_code) for call in calls] == [
        ("SERVER", StatusCode.ERROR),
        ("CLIENT", StatusCode.ERROR),
        ("CLIENT", StatusCode.UNSET),
    ]


async def test_who_leaves_during_a_reconnect_ends_it(spans: Spans, refusals: list[None]) -> None:
    """That is no error."""
    async with running_stack() as stack:
        run_id = await stack.start(agent="slow")
        refusals.extend([None] * 1_000)
        async with stack.client.stream("GET", f"/api/runs/{run_id}/events"):
            async with asyncio.timeout(10):
                while len(refusals) > 997:
                    await asyncio.sleep(0.01)
        (request, reconnect) = await spans.wait_for(GET, "reconnect")
        refusals.clear()
        await stack.client.post(f"/api/runs/{run_id}/cancel")
        await spans.all_ended()
    assert len([span for span in of_trace(spans, request) if span.name == FOLLOW_RUN]) == 2
    assert reconnect.attributes is not None
    assert reconnect.attributes["tokenwire.cancelled"] is True
    assert reconnect.attributes["tokenwire.reconnect.attempts"] >= 2
    assert reconnect.status.status_code is StatusCode.UNSET


def test_a_reconnect_that_is_given_up_is_an_error(spans: Spans) -> None:
    """With the code of what failed last, from when the stream broke."""
    span = ReconnectSpan(Context(), "run", 1_700_000_000_000_000_000)
    span.attempts = 13
    span.failed("UNAVAILABLE")
    (reconnect,) = spans.named("reconnect")
    assert reconnect.attributes is not None
    assert dict(reconnect.attributes) == {
        "tokenwire.run.id": "run",
        "tokenwire.reconnect.attempts": 13,
        "error.type": "UNAVAILABLE",
    }
    assert reconnect.start_time == 1_700_000_000_000_000_000
    assert reconnect.status.status_code is StatusCode.ERROR
