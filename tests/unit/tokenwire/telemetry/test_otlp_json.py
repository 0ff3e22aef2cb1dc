"""Spans as OTLP/JSON, beside what the SDK's own encoder makes of them."""

from __future__ import annotations

import json

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tests.support.otlp import parse_request
from tokenwire.telemetry.otlp_json import encode_request

FLAGS = 0xFF
"""The bits of a span's flags that are the trace's own. The SDK's encoder leaves them out."""

REMOTE = SpanContext(
    0xAF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True, TraceFlags(1), TraceState([("v", "1")])
)


def finished_spans() -> tuple[ReadableSpan, ...]:
    """Return two spans with all that a span may have, of two scopes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "tests", "n": 3}, "https://schemas/1"))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1.2", schema_url="https://schemas/2")
    parent = trace.set_span_in_context(trace.NonRecordingSpan(REMOTE), Context())
    root = tracer.start_span("rpc", parent, SpanKind.SERVER, {"text": 'a\n"é', "yes": True, "int": 2**53 + 1})
    root.set_attribute("float", 0.25)
    root.set_attribute("list", ["a", "b"])
    root.set_attribute("numbers", [1, 2**60])
    root.set_attribute("bytes", b"\x00\xff")
    root.add_event("seen", {"at": 1})
    root.set_status(Status(StatusCode.ERROR, "broken"))
    child = provider.get_tracer("other").start_span("child", trace.set_span_in_context(root), SpanKind.CLIENT)
    child.add_link(SpanContext(5, 6, True), {"why": "follows"})
    child.end()
    root.end()
    return exporter.get_finished_spans()


def test_spans_are_what_the_sdks_encoder_makes_of_them() -> None:
    """All but the trace flags, which the SDK leaves out though OTLP has them."""
    spans = finished_spans()
    line = encode_request(spans)
    request = parse_request(line)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert span.flags & FLAGS == TraceFlags.SAMPLED | span.flags & TraceFlags.RANDOM_TRACE_ID
                span.flags &= ~FLAGS
                for link in span.links:
                    link.flags &= ~FLAGS
    expected = encode_spans(spans)
    # Ours says resource and scope once for each pair of them.
    told = {
        span.name: (r.resource, s.scope, s.schema_url, span)
        for r in request.resource_spans
        for s in r.scope_spans
        for span in s.spans
    }
    assert told == {
        span.name: (r.resource, s.scope, s.schema_url, span)
        for r in expected.resource_spans
        for s in r.scope_spans
        for span in s.spans
    }
    assert {r.schema_url for r in request.resource_spans} == {"https://schemas/1"}


def test_a_request_is_one_line_with_ids_in_hex_and_long_numbers_as_texts() -> None:
    """The rules in which OTLP/JSON differs from protobuf's JSON, and those that JavaScript needs."""
    line = encode_request(finished_spans())
    assert b"\n" not in line
    (rpc,) = [
        span
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["name"] == "rpc"
    ]
    assert rpc["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert rpc["parentSpanId"] == "b7ad6b7169203331"
    assert rpc["kind"] == 2
    assert isinstance(rpc["startTimeUnixNano"], str)
    assert rpc["status"] == {"code": 2, "message": "broken"}
    assert {"key": "int", "value": {"intValue": str(2**53 + 1)}} in rpc["attributes"]


def test_numbers_that_json_does_not_have_are_texts() -> None:
    """`NaN` bare would make the line unreadable for most parsers."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    values = {"nan": float("nan"), "up": float("inf"), "down": float("-inf")}
    provider.get_tracer("tests").start_span("s", Context(), attributes=values).end()
    (resource,) = json.loads(encode_request(exporter.get_finished_spans()))["resourceSpans"]
    told = {a["key"]: a["value"]["doubleValue"] for a in resource["scopeSpans"][0]["spans"][0]["attributes"]}
    assert told == {"nan": "NaN", "up": "Infinity", "down": "-Infinity"}


def test_links_and_events_keep_their_order() -> None:
    """Readers pair them by place."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    links = [Link(SpanContext(1, number, False)) for number in (3, 1, 2)]
    span = provider.get_tracer("tests").start_span("s", Context(), links=links)
    for name in "cab":
        span.add_event(name)
    span.end()
    request = parse_request(encode_request(exporter.get_finished_spans()))
    (read,) = request.resource_spans[0].scope_spans[0].spans
    assert [int.from_bytes(link.span_id) for link in read.links] == [3, 1, 2]
    assert [event.name for event in read.events] == ["c", "a", "b"]
