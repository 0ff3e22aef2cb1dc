"""A real OTLP hop: the agent of the package `rotel`, between the processes and a sink of the test.

Source: https://github.com/streamfold/rotel
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import system
from tests.support.otlp_sink import OtlpSink, otlp_sink
from tests.support.processes import Processes, free_port

SPANS_AT_ONCE = 100_000
"""What it sends on in one request, at most. It must not split what it was sent: of the second part 0.0.1a15
loses the resource, and with it the service's name."""


def start_rotel(processes: Processes, exporter: str) -> str:
    """Start it; return its endpoint once it takes spans. The test that calls this needs `rotel`.

    Args:
        processes: Ends it.
        exporter: HOST:PORT of the one who is given the spans, over gRPC.
    """
    program = system.find("rotel")
    assert program is not None
    grpc_port, http_port = free_port(), free_port()
    command = [
        program,
        "start",
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
        *("--exporter", "otlp", "--otlp-exporter-endpoint", f"http://{exporter}"),
        *("--batch-max-size", str(SPANS_AT_ONCE)),
        *("--pid-file", str(processes.folder / f"rotel-{grpc_port}.pid")),
        *("--log-file", str(processes.folder / f"rotel-{grpc_port}.log")),
    ]
    process = processes.start("rotel", command)
    process.wait_ready(lambda: _accepts(grpc_port))
    return f"http://127.0.0.1:{grpc_port}"


@contextmanager
def rotel_and_sink(processes: Processes) -> Iterator[tuple[OtlpSink, str]]:
    """Run both; yield what has come through, and the endpoint that processes are to export to."""
    with otlp_sink() as (sink, address):
        yield sink, start_rotel(processes, address)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))
