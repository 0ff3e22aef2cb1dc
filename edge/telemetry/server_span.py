"""The SERVER span of each request: one, whatever is streamed.

The instrumentation libraries make a span for each `send` (46-54 µs a chunk) and know nothing of how a
stream ended; this writes one span a request, by hand.
"""

from __future__ import annotations

from typing import Any, Final, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edge.http.head import method_of
from tokenwire.telemetry import attributes, stream_root, tracer
from tokenwire.telemetry.trace_ids import new_trace_id, trace_id_of
from tokenwire.telemetry.traceparent import format_traceparent

_SCOPE_KEY: Final = "tokenwire.server_span"
_SEND_KEY: Final = "tokenwire.body_send"
_MINTED_KEY: Final = "tokenwire.trace_id"
_SERVER_ERROR: Final = 500
_PROBES: Final = ("/health/", "/metrics")
"""Asked every few seconds by whoever watches the process: no traces of these."""

STREAMS: Final = "tokenwire_streams_run"
"""The option of a route handler whose response is a run's stream: `opt={STREAMS: True}`. Its span is
recorded though the sampler has not chosen it, and exported where the stream stalls or fails."""

_propagator: Final = TraceContextTextMapPropagator()


class ServerSpanMiddleware:
    """Makes a SERVER span around a route's handler and its whole response.

    Args:
        app: What it wraps.
        trust_traceparent: Whether a `traceparent` from outside is the span's parent; else a link.
    """

    def __init__(self, app: ASGIApp, *, trust_traceparent: bool) -> None:
        self.app = app
        self._trust_traceparent = trust_traceparent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request within a span of its own."""
        if scope["path"].startswith(_PROBES):
            await self.app(scope, receive, send)
            return
        span = self._start(cast(HTTPScope, scope))  # the edge has no other routes
        scope["state"][_SCOPE_KEY] = span
        if scope["route_handler"].opt.get(STREAMS):
            scope["state"][_SEND_KEY] = send

        def note_and_send(message: Message) -> Any:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute(attributes.HTTP_RESPONSE_STATUS_CODE, status)
                if status >= _SERVER_ERROR:
                    span.set_attribute(attributes.ERROR_TYPE, str(status))
                    span.set_status(Status(StatusCode.ERROR))
            return send(message)

        try:
            await self.app(scope, receive, note_and_send)
        except Exception as error:
            span.record_exception(error)
            span.set_attribute(attributes.ERROR_TYPE, type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            scope["state"].pop(_SEND_KEY, None)  # what sends knows the scope: a circle otherwise
            span.end()

    def _start(self, scope: HTTPScope) -> Span:
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in {b"traceparent", b"tracestate"}
        }
        # Extracted into an empty context: nothing that is current here may leak into the request.
        remote = _propagator.extract(carrier, Context()) if carrier else Context()
        outside = trace.get_current_span(remote).get_span_context()
        links = [Link(outside)] if outside.is_valid and not self._trust_traceparent else None
        route = scope.get("path_template") or scope["path"]
        method = method_of(scope)
        context = remote if self._trust_traceparent else Context()
        if scope["route_handler"].opt.get(STREAMS):
            context = stream_root(context)
        return tracer().start_span(
            f"{method} {route}",
            context=context,
            kind=SpanKind.SERVER,
            links=links,
            attributes={
                attributes.HTTP_REQUEST_METHOD: method,
                attributes.HTTP_ROUTE: route,
                attributes.URL_PATH: scope["path"],
                attributes.URL_SCHEME: scope["scheme"],
            },
        )


def server_span(scope: Scope) -> Span:
    """Return the request's SERVER span; one that records nothing where the middleware is not."""
    span: Span = scope["state"].get(_SCOPE_KEY, trace.INVALID_SPAN)
    return span


def body_send(scope: Scope, send: Send) -> Send:
    """Return what sends the body of a stream, whose span wants to know of its head alone.

    Args:
        scope: The request's.
        send: What sends it where there is no span.
    """
    unnoted: Send = scope["state"].get(_SEND_KEY, send)
    return unnoted


def server_context(scope: Scope) -> Context:
    """Return the context in which the request's SERVER span is current."""
    return trace.set_span_in_context(server_span(scope), Context())


def traceparent(scope: Scope) -> str:
    """Return the SERVER span's W3C traceparent; empty when the request is not traced."""
    span = server_span(scope).get_span_context()
    return format_traceparent(span) if span.is_valid else ""


def trace_id(scope: Scope) -> str:
    """Return what names the request in answers and in the log: 32 hex digits.

    Its trace's id, sampled or not. While tracing is off, a random one: who quotes it is found in the log.
    """
    if known := trace_id_of(server_span(scope).get_span_context()):
        return known
    minted: str = scope["state"].setdefault(_MINTED_KEY, "")
    if not minted:
        minted = scope["state"][_MINTED_KEY] = new_trace_id()
    return minted
