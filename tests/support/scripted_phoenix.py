"""A server that answers as Phoenix 20's REST API does, from spans that a test gives it.

A fake at the far rim: the real one takes 600 MB and half a minute to start. The form of its answers was taken
from a real server's, which was given the same spans.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp_lines import Made

STATUSES = ("UNSET", "OK", "ERROR")


class ScriptedPhoenix:
    """What the server has, and what it was asked.

    Args:
        streams: Their spans are in the project `default`.
    """

    def __init__(self, *streams: Made) -> None:
        self.spans = [phoenix_span(span) for stream in streams for _, span in stream.spans]
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.page_limit = 1_000
        self.answer: Callable[[], tuple[int, bytes]] | None = None
        """Answers instead, when it is set."""
        self.url = ""

    def get(self, target: str) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        self.asked.append(target)
        if self.answer is not None:
            return self.answer()
        parts = urlsplit(target)
        *_, project, what = parts.path.split("/")
        if unquote(project) != "default":
            return HTTPStatus.NOT_FOUND, b"Project not found"
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        found = self._traces() if what == "traces" else self._spans(query)
        begin, limit = int(query.get("cursor", 0)), min(int(query["limit"]), self.page_limit)
        following = str(begin + limit) if begin + limit < len(found) else None
        return HTTPStatus.OK, json.dumps(
            {"data": found[begin : begin + limit], "next_cursor": following}
        ).encode()

    def _traces(self) -> list[dict[str, Any]]:
        return [
            {"trace_id": trace_id}
            for trace_id in dict.fromkeys(each["context"]["trace_id"] for each in self.spans)
        ]

    def _spans(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found = self.spans
        if "trace_id" in query:
            found = [each for each in found if each["context"]["trace_id"] == query["trace_id"]]
        if query.get("parent_id") == "null":
            found = [each for each in found if each["parent_id"] is None]
        if "attribute" in query:
            name, _, value = query["attribute"].partition(":")
            found = [each for each in found if each["attributes"].get(name) == json.loads(value)]
        if query.get("sort") == "start_time":
            found = sorted(found, key=lambda each: str(each["start_time"]), reverse=True)
        return found


def phoenix_span(span: Span) -> dict[str, Any]:
    """Return a span in Phoenix' own form, without what it does not keep."""
    attributes = {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in span.attributes
    }
    return {
        "id": "U3Bhbjox",
        "name": span.name,
        "context": {"trace_id": span.trace_id.hex(), "span_id": span.span_id.hex()},
        "span_kind": "UNKNOWN",
        "parent_id": span.parent_span_id.hex() or None,
        "start_time": iso(span.start_time_unix_nano),
        "end_time": iso(span.end_time_unix_nano),
        "status_code": STATUSES[span.status.code],
        "status_message": "",
        "attributes": attributes,
        "events": [],
    }


def iso(unix_ns: int) -> str:
    """Return a time as Phoenix writes it, to the microsecond."""
    return (dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=unix_ns // 1_000)).isoformat()


@contextmanager
def running_phoenix(phoenix: ScriptedPhoenix) -> Iterator[ScriptedPhoenix]:
    """Serve it on loopback; its `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            phoenix.keys.append(self.headers.get("Authorization"))
            status, body = phoenix.get(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    phoenix.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield phoenix
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
