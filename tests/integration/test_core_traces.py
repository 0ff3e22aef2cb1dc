"""The core's spans, as an exporter sees them."""

from collections.abc import AsyncIterator, Callable, Iterator

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from agent_core.agents import RunRequest
from tests.support.core import Core, rest_of, running_core, stream_request
from tests.support.spans import use_provider
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import RunSpec

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01"),)
RPC = "tokenwire.v1.AgentService/"

Spans = Callable[[], dict[str, ReadableSpan]]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Return what gives the ended spans by name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_provider(provider, monkeypatch)
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    provider.shutdown()


async def traced(request: RunRequest) -> AsyncIterator[str]:
    """Say which span is the current one."""
    del request
    yield trace.format_span_id(trace.get_current_span().get_span_context().span_id)


async def test_a_run_is_a_span_below_the_call_below_the_caller(spans: Spans) -> None:
    """One trace, with what the conventions want on both."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("scripted", session_id="s1"), metadata=METADATA)
        first = await call.read()
        await rest_of(call)
    rpc, run = spans()[RPC + "StreamRun"], spans()["invoke_agent scripted"]
    assert rpc.kind is SpanKind.SERVER
    assert rpc.attributes
    told = {name: value for name, value in rpc.attributes.items() if not name.startswith("tokenwire.stream.")}
    assert told == {
        "rpc.system.name": "grpc",
        "rpc.method": RPC + "StreamRun",
        "tokenwire.run.id": first.run_id,
        "rpc.response.status_code": "OK",
    }
    assert rpc.parent is not None
    assert trace.format_span_id(rpc.parent.span_id) == PARENT_ID
    assert run.parent == rpc.context
    assert run.kind is SpanKind.INTERNAL
    assert run.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "scripted",
        "gen_ai.conversation.id": "s1",
        "tokenwire.run.id": first.run_id,
        "tokenwire.run.events": 16,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 6,
    }
    for span in (rpc, run):
        assert trace.format_trace_id(span.context.trace_id) == TRACE_ID
        assert span.status.status_code is StatusCode.UNSET
    span_id = trace.format_span_id(run.context.span_id)
    assert first.events[0].run_started.traceparent == f"00-{TRACE_ID}-{span_id}-01"


async def test_the_agents_own_spans_nest_below_the_run(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its span is the current one inside the agent, and nowhere else."""
    monkeypatch.setattr("tests.support.agents.echo", traced)
    async with running_core(agent="echo=tests.support.agents:echo") as core:
        events = await core.events("echo")
        assert not trace.get_current_span().get_span_context().is_valid
    run = spans()["invoke_agent echo"]
    assert events[-1].done.final_message == trace.format_span_id(run.context.span_id)


async def test_a_failed_run_is_an_error_and_names_its_trace(spans: Spans) -> None:
    """The user's error leads to what really happened."""
    async with running_core() as core:
        events = await core.events("raises_after")
    run = spans()["invoke_agent raises_after"]
    assert events[-1].error.trace_id == trace.format_trace_id(run.context.trace_id)
    assert run.status.status_code is StatusCode.ERROR
    assert run.attributes is not None
    assert run.attributes["error.type"] == "INTERNAL"
    assert [event.name for event in run.events] == ["exception"]
    # The call itself did what it should.
    assert spans()[RPC + "StreamRun"].status.status_code is StatusCode.UNSET


async def ended(core: Core, run_id: str) -> None:
    await core.follow(run_id)


async def test_a_cancelled_call_and_run_are_no_errors(spans: Spans) -> None:
    """Somebody wanted it; both say so."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("slow"))
        run_id = (await call.read()).run_id
        call.cancel()
        await ended(core, run_id)
    rpc, run = spans()[RPC + "StreamRun"], spans()["invoke_agent slow"]
    assert rpc.attributes is not None
    assert run.attributes is not None
    assert rpc.attributes["rpc.response.status_code"] == "CANCELLED"
    assert "error.type" not in rpc.attributes
    assert run.attributes["tokenwire.cancelled"] is True
    assert run.attributes["tokenwire.run.stop_cause"] == "follower_left"
    assert run.attributes["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert {rpc.status.status_code, run.status.status_code} == {StatusCode.UNSET}


async def test_stop_is_told_from_a_follower_who_left(spans: Spans) -> None:
    """Both cancel the run; an operator wants to know whether people stop it or lose their connection."""
    async with running_core() as core:
        run_id = await core.start("slow")
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        await ended(core, run_id)
    run = spans()["invoke_agent slow"]
    assert run.attributes is not None
    assert run.attributes["tokenwire.run.stop_cause"] == "cancelled"


async def test_a_deadline_is_an_error(spans: Spans) -> None:
    """On the run always."""
    async with running_core() as core:
        await core.events("slow", timeout={"nanos": 200_000_000})
    run = spans()["invoke_agent slow"]
    assert run.status.status_code is StatusCode.ERROR
    assert run.attributes is not None
    assert run.attributes["error.type"] == "DEADLINE_EXCEEDED"


async def test_a_refusal_is_the_callers_mistake_or_the_cores(spans: Spans) -> None:
    """The code says whose."""
    async with running_core() as core:
        core.server.manager.start = None  # type: ignore[method-assign,assignment]
        started = core.stub.StartRun(pb.StartRunRequest(run=RunSpec(agent="echo", message="hi")))
        for call in (core.stub.GetRun(pb.GetRunRequest()), started):
            with pytest.raises(grpc.aio.AioRpcError):
                await call
    refused, failed = spans()[RPC + "GetRun"], spans()[RPC + "StartRun"]
    assert refused.attributes is not None
    assert failed.attributes is not None
    assert refused.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert refused.status.status_code is StatusCode.UNSET
    assert failed.attributes["error.type"] == "INTERNAL"
    assert failed.status.status_code is StatusCode.ERROR


async def test_a_follow_and_its_run_link_to_each_other(spans: Spans) -> None:
    """Two traces, and a way between them in both directions."""
    async with running_core() as core:
        run_id = await core.start("slow")
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=METADATA)
        await call.read()
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        await rest_of(call)
    follow, run = spans()[RPC + "FollowRun"], spans()["invoke_agent slow"]
    assert [link.context for link in follow.links] == [run.context]
    assert [link.context for link in run.links] == [follow.context]
    assert (
        trace.format_trace_id(follow.context.trace_id)
        == TRACE_ID
        != trace.format_trace_id(run.context.trace_id)
    )


@pytest.mark.parametrize("tracing", ["off", "on, not sampled"])
async def test_a_failed_run_names_its_callers_trace_though_it_is_not_sampled(
    tracing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log knows it by that id; only `RunStarted` names no span, for there is none to link to."""
    # Said in both cases: another test of this process may have installed a provider for good.
    off = trace.NoOpTracerProvider() if tracing == "off" else TracerProvider(sampler=ALWAYS_OFF)
    use_provider(off, monkeypatch)
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("raises_after"), metadata=METADATA)
        responses = await rest_of(call)
    events = [event for response in responses for event in response.events]
    assert events[0].run_started.traceparent == ""
    assert events[-1].error.trace_id == TRACE_ID
    (failed,) = [record for record in caplog.records if "failed: AGENT_FAILED" in record.getMessage()]
    assert (failed.run_id, failed.trace_id) == (events[0].run_started.run_id, TRACE_ID)


@pytest.mark.parametrize("flags", ["01", "03"])
async def test_a_run_tells_its_traces_flags_as_they_came(spans: Spans, flags: str) -> None:
    """`03` says, besides "sampled", that the trace's id is random: samplers further on rely on it."""
    metadata = (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-{flags}"),)
    async with running_core() as core:
        responses = await rest_of(core.stub.StreamRun(stream_request("scripted"), metadata=metadata))
    span_id = trace.format_span_id(spans()["invoke_agent scripted"].context.span_id)
    assert responses[0].events[0].run_started.traceparent == f"00-{TRACE_ID}-{span_id}-{flags}"
