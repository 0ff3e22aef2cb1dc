"""Finished spans as OTLP/JSON.

Written by hand: by way of protobuf's messages and its JSON it costs several times as much, on the same
interpreter that serves streams.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind

Json: TypeAlias = dict[str, Any]

KINDS: Final = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}

KNOWS_IF_REMOTE: Final = 0x100
IS_REMOTE: Final = 0x200
"""Bits of a span's flags: whether its parent's process is known, and another one."""


def encode_request(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an ExportTraceServiceRequest, on one line, without its end.

    Args:
        spans: Finished spans, of one or several resources and scopes.
    """
    # By identity: the SDK hands the same two objects to all spans of a process, and hashing one costs more
    # than encoding a span.
    groups: dict[tuple[int, int], list[ReadableSpan]] = {}
    for span in spans:
        groups.setdefault((id(span.resource), id(span.instrumentation_scope)), []).append(span)
    resources = [
        {**_resource(group[0].resource), "scopeSpans": [_scope_spans(group)]} for group in groups.values()
    ]
    return json.dumps({"resourceSpans": resources}, separators=(",", ":")).encode()


def _resource(resource: Resource) -> Json:
    encoded: Json = {"resource": {"attributes": _attributes(resource.attributes)}}
    if resource.schema_url:
        encoded["schemaUrl"] = resource.schema_url
    return encoded


def _scope_spans(spans: Sequence[ReadableSpan]) -> Json:
    scope: InstrumentationScope | None = spans[0].instrumentation_scope
    encoded: Json = {"spans": [_span(span) for span in spans]}
    if scope is not None:
        encoded["scope"] = {"name": scope.name, "version": scope.version or ""}
        if scope.schema_url:
            encoded["schemaUrl"] = scope.schema_url
    return encoded


def _span(span: ReadableSpan) -> Json:
    context = span.get_span_context()
    assert context is not None  # noqa: S101 # it was started
    encoded: Json = {
        **_ids(context),
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes),
        "flags": int(context.trace_flags) | _remote_bits(span.parent),
        "status": {},
    }
    if span.parent is not None:
        encoded["parentSpanId"] = f"{span.parent.span_id:016x}"
    if span.events:
        encoded["events"] = [_event(event) for event in span.events]
    if span.links:
        encoded["links"] = [_link(link) for link in span.links]
    if span.status.status_code.value:
        encoded["status"]["code"] = span.status.status_code.value
    if span.status.description:
        encoded["status"]["message"] = span.status.description
    for name, dropped in (
        ("droppedAttributesCount", span.dropped_attributes),
        ("droppedEventsCount", span.dropped_events),
        ("droppedLinksCount", span.dropped_links),
    ):
        if dropped:
            encoded[name] = dropped
    return encoded


def _ids(context: SpanContext) -> Json:
    ids: Json = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if context.trace_state:
        ids["traceState"] = context.trace_state.to_header()
    return ids


def _remote_bits(context: SpanContext | None) -> int:
    return KNOWS_IF_REMOTE | (IS_REMOTE if context is not None and context.is_remote else 0)


def _event(event: Event) -> Json:
    return {
        "name": event.name,
        "timeUnixNano": str(event.timestamp),
        "attributes": _attributes(event.attributes),
    }


def _link(link: Link) -> Json:
    return {
        **_ids(link.context),
        "attributes": _attributes(link.attributes),
        "flags": int(link.context.trace_flags) | _remote_bits(link.context),
    }


def _attributes(attributes: Mapping[str, Any] | None) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: Any) -> Json:  # noqa: PLR0911 # one for each kind
    match value:
        case bool():
            return {"boolValue": value}
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case Mapping():
            return {"kvlistValue": {"values": _attributes(value)}}
        case None:
            return {}
        case _:
            return {"arrayValue": {"values": [_value(item) for item in value]}}


def _not_finite(value: float) -> str:
    """Return how protobuf's JSON writes a number that JSON does not have."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
