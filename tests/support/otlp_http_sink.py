"""The end of the way of OTLP over HTTP: takes what an exporter posts."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@contextmanager
def otlp_http_sink() -> Iterator[tuple[list[Span], str]]:
    """Take spans; yield those that come, and the URL."""
    spans: list[Span] = []

    def take(body: bytes) -> None:
        spans.extend(
            span
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        )

    with posted("/v1/traces", take) as url:
        yield spans, url


@contextmanager
def posted(path: str, take: Callable[[bytes], object]) -> Iterator[str]:
    """Have each body taken that is posted to a path; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == path
            body = self.rfile.read(int(self.headers["content-length"]))
            take(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
