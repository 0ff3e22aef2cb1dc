"""Spans and requests of the real OTLP classes, and their line in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span


def any_value(value: Any) -> AnyValue:
    """Return an attribute's value as OTLP has it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    return AnyValue(string_value=value)


def span(
    trace_id: bytes,
    span_id: bytes,
    name: str,
    times: tuple[int, int],
    attributes: Mapping[str, Any],
    parent: bytes = b"",
    kind: int = Span.SPAN_KIND_INTERNAL,
    links: Sequence[tuple[bytes, bytes]] = (),
) -> Span:
    """Return one span."""
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name=name,
        kind=kind,  # type: ignore[arg-type]
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        attributes=[KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()],
        links=[Span.Link(trace_id=trace, span_id=linked) for trace, linked in links],
    )


def request(service: str, spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """Return the request that one process sends."""
    resource = Resource(attributes=[KeyValue(key="service.name", value=any_value(service))])
    scope = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])])


def line_of(message: ExportTraceServiceRequest) -> str:
    """Return a request in OTLP/JSON: protobuf's JSON, but ids in hexadecimal digits and enums as numbers."""
    content = MessageToDict(message, use_integers_for_enums=True)
    for resource, raw in zip(content["resourceSpans"], message.resource_spans, strict=True):
        for scope, raw_scope in zip(resource["scopeSpans"], raw.scope_spans, strict=True):
            for each, raw_span in zip(scope["spans"], raw_scope.spans, strict=True):
                each["traceId"], each["spanId"] = raw_span.trace_id.hex(), raw_span.span_id.hex()
                if raw_span.parent_span_id:
                    each["parentSpanId"] = raw_span.parent_span_id.hex()
                for link, raw_link in zip(each.get("links", ()), raw_span.links, strict=True):
                    link["traceId"], link["spanId"] = raw_link.trace_id.hex(), raw_link.span_id.hex()
    return json.dumps(content, separators=(",", ":")) + "\n"
