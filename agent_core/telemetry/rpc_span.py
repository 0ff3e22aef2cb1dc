"""The SERVER span of one RPC, by hand.

The contrib interceptor breaks handlers that call `context.write()`, and reports cancelled streams
as OK. The span is never current: it outlives no `yield`, and runs have spans of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tokenwire.telemetry import attributes, stream_root, tracer

SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that are a server's own failure. The others, CANCELLED among them, are the caller's.

Source: https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/rpc/grpc.md
"""

TRACE_HEADERS: Final = ("traceparent", "tracestate")

_propagator: Final = TraceContextTextMapPropagator()


def incoming_context(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """Return the trace context that a call's metadata carries; an empty one when it carries none.

    It is read into an empty context: this process's current one has nothing to do with the caller.
    """
    carrier = {key: value for key, value in metadata if key in TRACE_HEADERS and isinstance(value, str)}
    return _propagator.extract(carrier, context=Context()) if carrier else Context()


def start_rpc_span(method: str, parent: Context, *, streams_run: bool = False) -> Span:
    """Return the started span of a call.

    Args:
        method: The rpc's full name, such as "tokenwire.v1.AgentService/StreamRun".
        parent: From `incoming_context`.
        streams_run: Whether the call streams a run. Then its span is recorded though the trace is not
            sampled, and exported where the stream stalls or fails.
    """
    return tracer().start_span(
        method,
        stream_root(parent) if streams_run else parent,
        SpanKind.SERVER,
        {attributes.RPC_SYSTEM_NAME: "grpc", attributes.RPC_METHOD: method},
    )


def end_rpc_span(span: Span, code: str) -> None:
    """End the span of a call.

    Args:
        span: From `start_rpc_span`.
        code: The name of the gRPC code that the call ended with.
    """
    span.set_attribute(attributes.RPC_RESPONSE_STATUS_CODE, code)
    if code in SERVER_ERRORS:
        span.set_attribute(attributes.ERROR_TYPE, code)
        span.set_status(Status(StatusCode.ERROR))
    span.end()
