"""OTLP/JSON read back by protobuf's own parser, which refuses names and values that OTLP does not have."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

IDS = frozenset({"traceId", "spanId", "parentSpanId"})
"""Fields that OTLP/JSON writes in hex, and protobuf's JSON in base64."""


def parse_request(line: str | bytes) -> ExportTraceServiceRequest:
    """Return the request that a line holds."""
    return json_format.ParseDict(_with_base64(json.loads(line)), ExportTraceServiceRequest())


def requests_in(file: Path) -> list[ExportTraceServiceRequest]:
    """Return the requests of a trace file; every line must be one."""
    return [parse_request(line) for line in file.read_bytes().splitlines()]


def spans_in(file: Path) -> list[Span]:
    """Return the spans of a trace file; none where there is no file yet."""
    if not file.exists():
        return []
    return [
        span
        for request in requests_in(file)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes_of(attributes: list[KeyValue] | Any) -> dict[str, Any]:
    """Return attributes as a dictionary: texts, numbers and flags."""
    return {
        pair.key: getattr(pair.value, kind) for pair in attributes if (kind := pair.value.WhichOneof("value"))
    }


def _with_base64(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else _with_base64(item)
                for key, item in value.items()
            }
        case list():
            return [_with_base64(item) for item in value]
        case _:
            return value
