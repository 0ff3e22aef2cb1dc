"""A receiver of traces that takes everything and does nothing with it.

    python -m bench.trace_sink      # prints its port, and serves until standard input ends

Processes that are measured with tracing on export to it, over OTLP/gRPC.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import grpc

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
MAX_EXPORT_BYTES: Final = 16 * 1024 * 1024


def serve() -> None:
    """Serve until standard input ends."""
    take: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    server = grpc.server(
        ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", MAX_EXPORT_BYTES)]
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Export": take})])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


@contextmanager
def trace_sink() -> Iterator[str]:
    """Run the receiver as a process of its own; yield its URL."""
    command = [sys.executable, "-m", "bench.trace_sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    serve()
