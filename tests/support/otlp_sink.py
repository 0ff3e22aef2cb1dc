"""The end of the way of spans: a gRPC server that takes OTLP, and keeps all spans that come."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp import attributes_of
from tests.support.processes import wait_until

WITHIN_S = 30.0


class Received(NamedTuple):
    """One span."""

    service: str
    """The process that made it: its `service.name`."""
    span: Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes_of(self.span.attributes)


class OtlpSink:
    """What came."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        """In the order in which they came."""

    def Export(self, request: pb.ExportTraceServiceRequest, _: Any) -> pb.ExportTraceServiceResponse:  # noqa: N802
        """Take a request: the name is that of the rpc."""
        for resource in request.resource_spans:
            service = attributes_of(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [Received(service, span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def of_trace(self, trace_id: str) -> list[Received]:
        """Return the spans of a trace, named by 32 hexadecimal digits."""
        return [each for each in tuple(self.spans) if each.span.trace_id.hex() == trace_id]

    def named(self, name: str) -> list[Received]:
        """Return the spans of a name."""
        return [each for each in tuple(self.spans) if each.name == name]

    def wait_for_root(self, trace_id: str, within_s: float = WITHIN_S) -> Received:
        """Return a trace's SERVER span without a parent, once it has come: what it is about came before.

        Raises:
            AssertionError: It did not within the time.
        """
        found: list[Received] = []

        def has_come() -> bool:
            found[:] = [
                each
                for each in self.of_trace(trace_id)
                if each.span.kind == Span.SPAN_KIND_SERVER and not each.span.parent_span_id
            ]
            return bool(found)

        wait_until(has_come, f"the root of trace {trace_id} has come", within_s)
        (root,) = found
        return root


@contextmanager
def otlp_sink() -> Iterator[tuple[OtlpSink, str]]:
    """Take OTLP over gRPC; yield what comes, and HOST:PORT."""
    sink = OtlpSink()
    # A hop joins batches to larger ones: nothing is to be lost here.
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    pb_grpc.add_TraceServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield sink, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
