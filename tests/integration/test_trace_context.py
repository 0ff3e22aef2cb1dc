"""Contexts stay where they belong: no span under a wrong parent, none that never ends, none left current."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from tests.support.raw_http import post, raw_connection
from tests.support.spans import Spans, spans, unsampled_spans
from tests.support.stack import Stack, new_session, running_stack

__all__ = ["spans", "unsampled_spans"]

POST = "POST /api/chat"
RPC = "tokenwire.v1.AgentService/StreamRun"


@pytest.fixture(autouse=True)
def no_lost_context(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No context is detached where it was not attached: OpenTelemetry logs that and goes on."""
    with caplog.at_level(logging.WARNING):
        yield
    told = [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")]
    assert told == []


async def stop(stack: Stack, agent: str) -> str:
    """Stop a run after its first words; return its agent's name."""
    async with stack.chat(agent=agent) as response:
        lines = response.aiter_lines()
        # On a busy machine the headers leave before the run has an id; its first event has it, too.
        started = await anext(line async for line in lines if line.startswith("data: "))
        run_id = json.loads(started.removeprefix("data: "))["runId"]
        await stack.client.post(f"/api/runs/{run_id}/cancel")
        async for _ in lines:
            pass
    return agent


async def leave(stack: Stack, agent: str) -> str:
    """Leave after the first words, and let the run be cancelled for it."""
    async with stack.chat(agent=agent, onDisconnect="cancel") as response:
        await anext(response.aiter_text())
    return agent


async def leave_at_once(stack: Stack, agent: str) -> str:
    """Leave before the first word."""
    async with stack.chat(agent=agent, onDisconnect="cancel"):
        pass
    return agent


async def read(stack: Stack, agent: str) -> str:
    """Read to the end."""
    async with stack.chat(agent=agent) as response:
        await response.aread()
    return agent


def is_stuck(connection: Any) -> bool:
    """Return whether a connection of the edge's waits for room at its client."""
    return bool(connection.transport.get_write_buffer_size())


async def leave_unread(stack: Stack, agent: str) -> str:
    """Read nothing until the edge has no room left, then cut the connection."""
    # More than all buffers on the way hold. It ends: what goes on for ever leaves a busy machine no time.
    order = json.dumps({"tokens": 40_000, "size": 300, "rate": 0})
    body = {"message": order, "sessionId": new_session(), "agent": agent, "onDisconnect": "cancel"}
    async with raw_connection(stack.url) as connection:
        await connection.send(post("/api/chat", json.dumps(body).encode(), "Content-Type: application/json"))
        await connection.until(b"text_delta")
        async with asyncio.timeout(60):
            while not any(map(is_stuck, stack.edge.server_state.connections)):
                await asyncio.sleep(0.01)
        connection.reset()
    return agent


Client = Callable[[Stack, str], Awaitable[str]]


def parents(spans: Spans, span: ReadableSpan) -> list[str]:
    """Return the names of a span's parent, the parent's parent, and so on."""
    by_id = {other.context.span_id: other for other in spans.all() if other.context}
    names = []
    while span.parent is not None:
        assert span.context is not None
        assert span.parent.trace_id == span.context.trace_id
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


@pytest.mark.parametrize(
    ("client", "agent"),
    [(stop, "thinks"), (leave, "thinks"), (leave_at_once, "silent"), (leave_unread, "pace")],
)
@pytest.mark.usefixtures("transport")
async def test_a_stream_that_is_cut_off_leaves_nothing_open(spans: Spans, client: Client, agent: str) -> None:
    """Stopped, left, or left by one who did not read: every span that began has ended."""
    async with running_stack() as stack:
        await client(stack, agent)
        await spans.wait_for(POST, f"invoke_agent {agent}")
        await spans.all_ended()
    assert not trace.get_current_span().get_span_context().is_valid
    for thought in spans.named("thought"):
        assert parents(spans, thought) == ["think", f"invoke_agent {agent}", RPC, RPC, POST]


@pytest.mark.usefixtures("transport")
async def test_streams_that_end_in_all_ways_at_once_keep_to_their_own_traces(spans: Spans) -> None:
    """Each run's span stands below its own request, through its own two calls; all have ended."""
    clients: list[tuple[Client, str]] = [
        (read, "scripted"),
        (read, "raises_after"),
        (stop, "thinks"),
        (leave, "slow"),
        (leave_at_once, "silent"),
    ]
    async with running_stack() as stack:
        agents = await asyncio.gather(*(client(stack, agent) for client, agent in clients * 6))
        await spans.all_ended()
    runs = [span for span in spans.all() if span.name.startswith("invoke_agent ")]
    assert Counter(span.name for span in runs) == Counter(f"invoke_agent {agent}" for agent in agents)
    assert len({span.context.trace_id for span in runs if span.context}) == len(runs)
    run_of_trace = {}
    for run in runs:
        assert parents(spans, run) == [RPC, RPC, POST]
        assert run.context
        assert run.attributes
        run_of_trace[run.context.trace_id] = run.attributes["tokenwire.run.id"]
    for request in spans.named(POST):
        assert request.context
        assert request.attributes
        assert request.attributes["tokenwire.run.id"] == run_of_trace[request.context.trace_id]
    for thought in spans.named("thought"):
        assert parents(spans, thought) == ["think", "invoke_agent thinks", RPC, RPC, POST]


async def test_roots_that_are_only_recorded_end_and_are_not_exported(unsampled_spans: Spans) -> None:
    """Of a stream that was neither sampled nor bad nothing is left; its core has recorded nothing."""
    async with running_stack() as stack:
        async with stack.chat(agent="scripted") as response:
            text = (await response.aread()).decode()
        await leave(stack, "slow")
        await unsampled_spans.all_ended()
    assert unsampled_spans.all() == []
    assert response.headers["traceparent"].split("-")[3] in {"00", "02"}
    assert '"traceparent"' not in text
