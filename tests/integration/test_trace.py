"""One trace from the browser's request to the agent, with the right end on every span."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from tests.support.spans import Spans, spans
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.usefixtures("transport")

__all__ = ["spans"]

POST = "POST /api/chat"
STREAM_RUN = "tokenwire.v1.AgentService/StreamRun"
OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def rpc(spans: Spans, kind: str) -> ReadableSpan:
    """Return the client's or the server's span of StreamRun."""
    return next(span for span in spans.named(STREAM_RUN) if span.kind.name == kind)


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def ask(stack: Stack, agent: str) -> httpx.Response:
    async with stack.chat(agent=agent) as response:
        await response.aread()
    result: httpx.Response = response
    return result


async def test_a_stream_is_one_trace_from_the_request_to_the_agent(spans: Spans) -> None:
    """Request, call, call at the core, agent: each is the next one's parent, and none failed."""
    async with running_stack() as stack:
        response = await ask(stack, "scripted")
        request, agent = await spans.wait_for(POST, "invoke_agent scripted")
    client, server = rpc(spans, "CLIENT"), rpc(spans, "SERVER")
    chain = [request, client, server, agent]
    assert len({span.context.trace_id for span in chain if span.context}) == 1
    assert [parent_id(span) for span in chain[1:]] == [s.context.span_id for s in chain[:-1] if s.context]
    assert parent_id(request) is None
    assert {span.status.status_code for span in chain} == {StatusCode.UNSET}
    assert request.attributes
    assert agent.attributes
    assert client.attributes
    assert request.attributes["http.route"] == "/api/chat"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["tokenwire.stream.outcome"] == "completed"
    assert client.attributes["rpc.response.status_code"] == "OK"
    assert agent.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert agent.attributes["tokenwire.run.id"] == request.attributes["tokenwire.run.id"]
    assert request.context
    assert response.headers["traceparent"].split("-")[1] == f"{request.context.trace_id:032x}"


async def test_a_failed_run_is_an_error_in_every_span_that_it_concerns(spans: Spans) -> None:
    """The rpc carried its error as an event, in good order: it did not fail; request and agent did."""
    async with running_stack() as stack:
        await ask(stack, "raises_after")
        request, agent = await spans.wait_for(POST, "invoke_agent raises_after")
    assert request.attributes
    assert agent.attributes
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes["tokenwire.stream.outcome"] == "error"
    assert request.attributes["error.type"] == "INTERNAL"
    assert agent.status.status_code is StatusCode.ERROR
    assert [event.name for event in agent.events] == ["exception"]
    assert rpc(spans, "CLIENT").status.status_code is StatusCode.UNSET


async def test_a_stopped_run_is_no_error(spans: Spans) -> None:
    """Somebody wanted it: cancelled, not failed."""
    async with running_stack() as stack:
        async with stack.chat(agent="slow") as response:
            await stack.client.post(f"/api/runs/{response.headers['run-id']}/cancel")
            await response.aread()
        request, agent = await spans.wait_for(POST, "invoke_agent slow")
    assert request.attributes
    assert agent.attributes
    assert request.attributes["tokenwire.stream.outcome"] == "cancelled"
    assert agent.attributes["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert agent.attributes["tokenwire.cancelled"] is True
    assert {request.status.status_code, agent.status.status_code} == {StatusCode.UNSET}


async def test_a_client_that_leaves_is_seen_as_such(spans: Spans) -> None:
    """Not as OK, and not as an error of the server's."""
    async with running_stack() as stack:
        async with stack.chat(agent="slow", onDisconnect="cancel"):
            pass  # closes the connection
        request, agent = await spans.wait_for(POST, "invoke_agent slow")
    client, server = rpc(spans, "CLIENT"), rpc(spans, "SERVER")
    assert request.attributes
    assert client.attributes
    assert server.attributes
    assert agent.attributes
    assert request.attributes["tokenwire.stream.outcome"] == "client_disconnect"
    assert client.attributes["rpc.response.status_code"] == "CANCELLED"
    assert server.attributes["rpc.response.status_code"] == "CANCELLED"
    assert agent.attributes["tokenwire.cancelled"] is True
    assert {s.status.status_code for s in (request, client, server, agent)} == {StatusCode.UNSET}


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_traceparent_from_outside_is_a_parent_only_when_trusted(
    spans: Spans,
    trusted: bool,
) -> None:
    """Else anybody could write into our traces: it is linked."""
    async with running_stack(trust_traceparent=trusted) as stack:
        async with stack.chat(headers={"traceparent": OUTSIDE}) as response:
            await response.aread()
        (request,) = await spans.wait_for(POST)
    inside = request.context is not None and f"{request.context.trace_id:032x}" == OUTSIDE.split("-")[1]
    assert inside is trusted
    assert [f"{link.context.span_id:016x}" for link in request.links] == (
        [] if trusted else [OUTSIDE.split("-")[2]]
    )


async def test_probes_are_not_traced(spans: Spans) -> None:
    """They are asked every few seconds, and would bury what matters."""
    async with running_stack() as stack:
        await stack.client.get("/health/live")
        await ask(stack, "scripted")
        await spans.wait_for(POST)
    assert {span.name for span in spans.all() if span.kind.name == "SERVER"} == {POST, STREAM_RUN}


async def test_streams_do_not_see_each_others_spans(spans: Spans) -> None:
    """Each of many streams at once is a trace of its own."""
    async with running_stack() as stack:
        await asyncio.gather(*(ask(stack, "scripted") for _ in range(8)))
        async with asyncio.timeout(10):
            while len(spans.named("invoke_agent scripted")) < 8:
                await asyncio.sleep(0.01)
    traces = [span.context.trace_id for span in spans.named("invoke_agent scripted") if span.context]
    assert len(set(traces)) == 8
