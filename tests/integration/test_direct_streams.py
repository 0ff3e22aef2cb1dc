"""The tokens of callers without an edge: the core owns their series, of three stages."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from tests.support.core import Core, running_core, stream_request
from tests.support.spans import Spans, spans
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.run_pb2 import Cursor

__all__ = ["spans"]

METHOD = "tokenwire.v1.AgentService/"


def said(span: ReadableSpan) -> dict[str, Any]:
    """Return what a span says of tokens and streams."""
    return {
        name.removeprefix("tokenwire."): value
        for name, value in (span.attributes or {}).items()
        if name.startswith("tokenwire.")
    }


async def start(core: Core) -> str:
    """Run the scripted agent to its end; return the run."""
    return {response.run_id async for response in core.stub.StreamRun(stream_request("scripted"))}.pop()


async def test_a_direct_callers_tokens_are_below_its_call(spans: Spans) -> None:
    """Each event has a row of what the core knows: model, log, send."""
    async with running_core() as core:
        run_id = await start(core)
        events = [
            event async for response in core.stub.FollowRun(_follow(run_id)) for event in response.events
        ]
    call = spans.named(METHOD + "StreamRun")[0]
    segment = next(span for span in spans.named("tokens") if span.parent == call.context)
    told = said(segment)
    assert (told["tokens.first"], told["tokens.count"]) == (1, len(events))
    stages = {"model_us", "logged_us", "send_us", "recv_us", "write_us"}
    assert {name for name in stages if f"tokens.{name}" in told} == {"model_us", "logged_us", "send_us"}
    tokens = sum(event.HasField("text_delta") or event.HasField("reasoning_delta") for event in events)
    assert said(call)["stream.tokens"] == tokens
    assert said(call)["stream.dropped"] == 0


async def test_a_follow_of_an_ended_run_is_a_replay(spans: Spans) -> None:
    """Its events were written long before: only when they were sent is this stream's."""
    async with running_core() as core:
        run_id = await start(core)
        async for _ in core.stub.FollowRun(_follow(run_id, after=2)):
            pass
    call = spans.named(METHOD + "FollowRun")[0]
    told = [said(span) for span in spans.named("tokens") if span.parent == call.context]
    assert [(each["tokens.first"], each["tokens.replayed"]) for each in told] == [(3, True)]
    assert "tokens.send_us" in told[0]
    assert "tokens.model_us" not in told[0]
    assert said(call)["stream.tokens"] == 0


async def test_what_comes_after_the_replay_is_live(spans: Spans) -> None:
    """As the reader was told by `caught_up`."""
    async with running_core() as core:
        run_id = (await core.stub.StartRun(pb.StartRunRequest(run=stream_request("slow").run))).run.run_id
        call = core.stub.FollowRun(_follow(run_id))
        async for response in call:
            if response.control.HasField("caught_up"):
                await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    span = spans.named(METHOD + "FollowRun")[0]
    told = [said(each) for each in spans.named("tokens") if each.parent == span.context]
    assert [each.get("tokens.replayed", False) for each in told] == [True, False]


async def test_what_an_edge_relays_has_no_rows_at_the_core(spans: Spans) -> None:
    """They are the edge's: nothing is told twice."""
    async with running_core() as core:
        async for _ in core.stub.StreamRun(stream_request("scripted", relay=True)):
            pass
    assert spans.named("tokens") == []


def _follow(run_id: str, after: int = 0) -> pb.FollowRunRequest:
    return pb.FollowRunRequest(run_id=run_id, after=Cursor(epoch=1, sequence=after))
