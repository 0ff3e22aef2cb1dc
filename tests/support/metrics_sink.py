"""A collector for metrics: takes OTLP over gRPC or HTTP, and keeps what came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as pb_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.support.otlp_http_sink import posted

WAIT_S = 20.0


class MetricsSink:
    """What came."""

    def __init__(self) -> None:
        self.requests: list[pb.ExportMetricsServiceRequest] = []

    def Export(self, request: pb.ExportMetricsServiceRequest, _: Any) -> pb.ExportMetricsServiceResponse:  # noqa: N802
        """Take a request: the name is that of the rpc."""
        self.requests.append(request)
        return pb.ExportMetricsServiceResponse()

    def of_service(self, name: str) -> list[pb.ExportMetricsServiceRequest]:
        """Return the requests of a `service.name`."""
        return [request for request in self.requests if resource_of(request)["service.name"] == name]

    def wait_for(self, count: int = 1, service: str = "") -> pb.ExportMetricsServiceRequest:
        """Return the last request, once so many have come.

        Raises:
            AssertionError: They did not.
        """
        deadline = time.monotonic() + WAIT_S
        while len(found := self.of_service(service) if service else self.requests) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} exports came"
            time.sleep(0.02)
        return found[-1]


def resource_of(request: pb.ExportMetricsServiceRequest) -> dict[str, str]:
    """Return what a request says of the process."""
    return {each.key: each.value.string_value for each in request.resource_metrics[0].resource.attributes}


def metrics_of(request: pb.ExportMetricsServiceRequest) -> dict[str, Metric]:
    """Return a request's metrics by name."""
    return {
        metric.name: metric
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points_of(metric: Metric) -> dict[tuple[tuple[str, str], ...], Any]:
    """Return a metric's points by their labels."""
    data = getattr(metric, str(metric.WhichOneof("data")))
    return {
        tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point
        for point in data.data_points
    }


@contextmanager
def grpc_sink(port: int = 0) -> Iterator[tuple[MetricsSink, str]]:
    """Take OTLP over gRPC; yield what comes, and the endpoint."""
    sink = MetricsSink()
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_MetricsServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield sink, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def http_sink() -> Iterator[tuple[MetricsSink, str]]:
    """Take OTLP over HTTP; yield what comes, and the endpoint."""
    sink = MetricsSink()

    def take(body: bytes) -> None:
        sink.requests.append(pb.ExportMetricsServiceRequest.FromString(body))

    with posted("/v1/metrics", take) as url:
        yield sink, url
