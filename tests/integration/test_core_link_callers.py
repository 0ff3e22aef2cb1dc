"""Who may open a link, on whose behalf it asks, within which limits, and what traces it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import grpc
import jwt
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.integration.test_core_link_life import nothing_left
from tests.integration.test_core_traces import PARENT_ID, RPC, TRACE_ID
from tests.support.core import running_core
from tests.support.link_client import LinkClient, linked, opened
from tests.support.spans import use_provider
from tokenwire.principal import ALGORITHM, AUDIENCE, LIFETIME_S, METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.link_pb2 import UNFOLLOW_REASON_LEFT, LinkCaller, LinkCancel, LinkRequest

Spans = Callable[[], list[ReadableSpan]]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Return what gives the ended spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_provider(provider, monkeypatch)
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


def named(spans: Spans, name: str) -> list[ReadableSpan]:
    """Return the spans of a name, in the order in which they ended."""
    return [span for span in spans() if span.name == name]


KEY = "k" * 32


Metadata: TypeAlias = tuple[tuple[str, str], ...]


def an_edge() -> Metadata:
    """Return the metadata of an edge, signed now: a principal expires."""
    return ((METADATA_KEY, sign_principal("edge", KEY)),)


def expired(name: str) -> str:
    """Return a principal of an edge whose clock is two minutes behind."""
    issued = int(time.time()) - 120
    claims = {"sub": name, "aud": AUDIENCE, "iat": issued, "exp": issued + LIFETIME_S}
    return jwt.encode(claims, KEY, ALGORITHM)


def on_behalf_of(name: str, **more: Any) -> LinkCaller:
    return LinkCaller(principal_token=sign_principal(name, KEY), **more)


@pytest.mark.parametrize(
    ("settings", "metadata", "expected"),
    [
        ({"principal_key": KEY}, lambda: (), ("UNAUTHENTICATED", "PRINCIPAL_MISSING")),
        (
            {"principal_key": KEY},
            lambda: ((METADATA_KEY, sign_principal("edge", "o" * 32)),),
            ("UNAUTHENTICATED", "PRINCIPAL_MISSING"),
        ),
        (
            {"principal_key": KEY},
            lambda: ((METADATA_KEY, expired("edge")),),
            ("UNAUTHENTICATED", "CLOCK_SKEW"),
        ),
        ({}, an_edge, ("UNAUTHENTICATED", "PRINCIPAL_MISSING")),
        ({}, lambda: (("authorization", "Bearer x"),), ("PERMISSION_DENIED", "LINK_NOT_ALLOWED")),
        (
            {"principal_key": KEY},
            lambda: (("authorization", "Bearer x"),),
            ("PERMISSION_DENIED", "LINK_NOT_ALLOWED"),
        ),
    ],
    ids=["nothing", "forged", "another time", "no key here", "bearer", "bearer, key here"],
)
async def test_only_an_edge_opens_a_link(
    settings: dict[str, Any], metadata: Callable[[], Metadata], expected: tuple[str, str]
) -> None:
    """Refused by its metadata alone, for the reasons that a call is refused for."""
    async with running_core(**settings) as core, opened(core.stub.Link(metadata=metadata())) as link:
        assert await link.refused() == expected


async def test_each_start_and_follow_proves_on_whose_behalf_it_is() -> None:
    """The link's own proof is nobody's among its callers; what is refused is that request alone."""
    async with running_core(principal_key=KEY) as core, linked(core, an_edge()) as link:
        await link.start(1, "slow", caller=on_behalf_of("ann"))
        await link.until(lambda: bool(link.events(1)))
        run_id = link.run_id(1)
        assert core.server.manager.live(run_id).record.owner == "ann"  # type: ignore[union-attr]
        forged = LinkCaller(principal_token=sign_principal("ann", "o" * 32))
        late = LinkCaller(principal_token=expired("ann"))
        for follow_id, caller, reason in (
            (2, None, "PRINCIPAL_MISSING"),
            (3, forged, "PRINCIPAL_MISSING"),
            (4, late, "CLOCK_SKEW"),
        ):
            await link.start(follow_id, "slow", caller=caller)
            await link.follow(10 + follow_id, run_id, caller=caller)
            for number in (follow_id, 10 + follow_id):
                error = (await link.ended(number)).end.error
                assert (error.code, error.details["reason"]) == ("UNAUTHENTICATED", reason)
            assert abs(int(error.details.get("caller_ahead_s", "-120")) + 120) < 20
        await link.follow(20, run_id, caller=on_behalf_of("bob"))
        assert (await link.ended(20)).end.error.details["reason"] == "RUN_UNKNOWN"
        for caller in (None, forged, on_behalf_of("bob")):
            await link.send(LinkRequest(cancel=LinkCancel(run_id=run_id, caller=caller)))
        before = len(link.events(1))
        await link.until(lambda: len(link.events(1)) > before + 2)
        await link.send(LinkRequest(cancel=LinkCancel(run_id=run_id, caller=on_behalf_of("ann"))))
        await link.ended(1)


async def test_the_limits_of_calls_are_those_of_links() -> None:
    """Follows of a principal, its runs, and follows in all; places come back however a follow ends."""
    limits = {"max_principal_follows": 3, "max_follows": 4, "max_principal_runs": 2}
    async with running_core(principal_key=KEY, disconnect_grace_s=1.0, **limits) as core:
        async with linked(core, an_edge()) as link:
            for follow_id in (1, 2):
                await link.start(follow_id, "slow", caller=on_behalf_of("ann"))
                await link.until(lambda follow_id=follow_id: bool(link.events(follow_id)))
            await refused(link, 3, "ann", "PRINCIPAL_RUNS_LIMIT")
            await link.follow(4, link.run_id(1), caller=on_behalf_of("ann"))
            await link.until(lambda: bool(link.events(4)))
            await refused(link, 5, "ann", "PRINCIPAL_FOLLOWS_LIMIT")
            await link.start(6, "slow", caller=on_behalf_of("ben"))
            await link.until(lambda: bool(link.events(6)))
            await refused(link, 7, "cleo", "FOLLOWS_LIMIT")
            call = core.stub.FollowRun(
                pb.FollowRunRequest(run_id=link.run_id(1)),
                metadata=((METADATA_KEY, sign_principal("dora", KEY)),),
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
            await link.unfollow(4, UNFOLLOW_REASON_LEFT)
            await link.start(8, "echo", caller=on_behalf_of("cleo"))
            await link.ended(8)
            await link.start(9, "echo", caller=on_behalf_of("cleo"))
            await link.ended(9)
        await nothing_left(core)


async def refused(link: LinkClient, follow_id: int, name: str, reason: str) -> None:
    await link.start(follow_id, "slow", caller=on_behalf_of(name))
    error = (await link.ended(follow_id)).end.error
    assert (error.code, error.details["reason"]) == ("RESOURCE_EXHAUSTED", reason)
    assert int(error.details["retry_after_ms"]) > 0
    assert error.retryable


TRACED = LinkCaller(traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01", tracestate="a=b")


async def test_a_start_has_the_span_of_the_call_that_it_stands_for(spans: Spans) -> None:
    """Below the caller's span and above the run's; the link itself has none, for it lives for days."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "scripted", caller=TRACED)
        await link.ended(1)
        run_id = link.run_id(1)
    (rpc,), (run,) = named(spans, RPC + "StreamRun"), named(spans, "invoke_agent scripted")
    assert rpc.kind is SpanKind.SERVER
    assert rpc.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": RPC + "StreamRun",
        "tokenwire.transport": "link",
        "tokenwire.run.id": run_id,
        "rpc.response.status_code": "OK",
    }
    assert rpc.parent is not None
    assert trace.format_span_id(rpc.parent.span_id) == PARENT_ID
    assert rpc.context.trace_state.get("a") == "b"
    assert run.parent == rpc.context
    assert not named(spans, RPC + "Link")


async def test_a_follow_and_its_run_link_to_each_other_here_too(spans: Spans) -> None:
    """One who leaves has cancelled the call that it stands for; a cancellation has its span, too."""
    async with running_core() as core, linked(core) as link:
        run_id = await core.start("slow")
        await link.follow(1, run_id, caller=TRACED)
        await link.until(lambda: bool(link.events(1)))
        await link.unfollow(1, UNFOLLOW_REASON_LEFT)
        await link.follow(2, run_id)
        await link.send(LinkRequest(cancel=LinkCancel(run_id=run_id, caller=TRACED)))
        await link.ended(2)
        await link.send(LinkRequest(cancel=LinkCancel(run_id="nonsense", caller=TRACED)))
        await link.follow(3, "nonsense")
        await link.ended(3)
    (run,), follows = named(spans, "invoke_agent slow"), named(spans, RPC + "FollowRun")
    codes = [span.attributes["rpc.response.status_code"] for span in follows]
    assert codes == ["CANCELLED", "OK", "INVALID_ARGUMENT"]
    assert [[one.context for one in span.links] for span in follows] == [[run.context], [run.context], []]
    assert [one.context for one in run.links] == [span.context for span in follows[:2]]
    cancels = named(spans, RPC + "CancelRun")
    assert {span.attributes["rpc.response.status_code"] for span in cancels} == {"INVALID_ARGUMENT", "OK"}
    for span in (*follows[:1], *cancels):
        assert trace.format_trace_id(span.context.trace_id) == TRACE_ID
        assert span.attributes["tokenwire.transport"] == "link"
        assert span.status.status_code is StatusCode.UNSET


async def test_a_refusal_names_the_trace_that_tells_of_it(spans: Spans) -> None:
    """As RequestInfo does for a call."""
    async with running_core() as core, linked(core) as link:
        core.server.manager.start = None  # type: ignore[method-assign,assignment]
        await link.start(1, "echo", caller=TRACED)
        error = (await link.ended(1)).end.error
    assert (error.code, error.trace_id) == ("INTERNAL", TRACE_ID)
    (span,) = named(spans, RPC + "StreamRun")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize("traceparent", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 10_000])
async def test_a_trace_context_that_is_none_is_passed_over(traceparent: str) -> None:
    """The run starts, with a trace of its own."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "echo", caller=LinkCaller(traceparent=traceparent, tracestate=traceparent))
        assert not (await link.ended(1)).end.HasField("error")
