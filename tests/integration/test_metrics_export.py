"""The numbers on their way to a collector: real OTLP, over gRPC and HTTP."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.support.metrics_sink import (
    MetricsSink,
    grpc_sink,
    http_sink,
    metrics_of,
    points_of,
    resource_of,
)
from tests.support.processes import free_port, wait_until
from tokenwire.telemetry.metrics import Exemplar, Home
from tokenwire.telemetry.metrics.instruments import STALLS, STREAMS_ACTIVE, STREAMS_CLOSED, TOKEN_GAP
from tokenwire.telemetry.metrics.setup import set_up_metrics

STALL = Exemplar("ab" * 16, "cd" * 8, 117, 0.4, 1_700_000_000_123_000_000)
Sink = Callable[[], AbstractContextManager[tuple[MetricsSink, str]]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, metrics: Home) -> Iterator[None]:
    """No variable of OpenTelemetry's is set, and no number is there."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    yield
    metrics.resource = {}


@pytest.mark.parametrize(("sink", "protocol"), [(grpc_sink, "grpc"), (http_sink, "http/protobuf")])
def test_an_endpoint_alone_turns_the_export_on(
    monkeypatch: pytest.MonkeyPatch, sink: Sink, protocol: str
) -> None:
    """All that was counted is there after the process's end, with its resource, also where a proxy is set."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with sink() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        stop = set_up_metrics("edge", instance_id="edge-1")
        TOKEN_GAP.observe_many_nano([5_000, 300_000_000])
        STALLS.add(1, "link", exemplar=STALL)
        STREAMS_ACTIVE.add(2)
        stop()
        (request,) = collector.requests
    resource = resource_of(request)
    assert (resource["service.name"], resource["service.instance.id"]) == ("tokenwire-edge", "edge-1")
    assert resource["service.version"]
    metrics = metrics_of(request)
    gap = points_of(metrics["tokenwire.token.gap"])[()]
    assert (gap.count, gap.sum, gap.min, gap.max) == (2, 0.300005, 0.000005, 0.3)
    assert list(gap.bucket_counts) == [1, *[0] * 13, 1, *[0] * 5]
    assert (gap.explicit_bounds[0], gap.explicit_bounds[-1]) == (1e-5, 10.0)
    assert metrics["tokenwire.token.gap"].unit == "s"
    stalls = points_of(metrics["tokenwire.stalls"])
    assert stalls[("hop", "link"),].as_int == 1
    assert stalls[("hop", "write"),].as_int == 0
    (exemplar,) = stalls[("hop", "link"),].exemplars
    assert exemplar.trace_id.hex() == STALL.trace_id
    assert exemplar.span_id.hex() == STALL.span_id
    assert (exemplar.as_double, exemplar.filtered_attributes[0].value.int_value) == (0.4, 117)
    assert points_of(metrics["tokenwire.streams.active"])[()].as_int == 2
    assert metrics["tokenwire.streams.closed"].sum.is_monotonic


def test_exports_are_cumulative_and_at_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that missed one has lost nothing."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    with grpc_sink() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint)
        stop = set_up_metrics("edge", instance_id="edge-1")
        try:
            STREAMS_CLOSED.add(1, "completed")
            collector.wait_for(2)
            STREAMS_CLOSED.add(1, "completed")
        finally:
            stop()
        last = metrics_of(collector.requests[-1])["tokenwire.streams.closed"]
    point = points_of(last)[("outcome", "completed"),]
    assert point.as_int == 2
    assert point.start_time_unix_nano < point.time_unix_nano


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"},
    ],
    ids=["nothing", "none", "scraped", "disabled", "traces"],
)
def test_nothing_is_exported_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Then neither a thread nor an exporter is there, and the page has all numbers."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def unexpected(_: str) -> None:
        raise AssertionError("an exporter was made")

    monkeypatch.setattr("tokenwire.telemetry.metrics.setup._exporter", unexpected)
    set_up_metrics("core", instance_id="1")()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_METRICS_EXPORTER", "carrier-pigeon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ],
)
def test_what_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """At the start, in words for an operator that name the variable."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name.replace('_METRICS_PROTOCOL', '')}.*{value}"):
        set_up_metrics("edge", instance_id="edge-1")


def test_a_collector_that_is_away_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the export fails: a line when it begins, one when it is over, and no number is lost."""
    caplog.set_level(logging.WARNING)
    port = free_port()
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    stop = set_up_metrics("edge", instance_id="edge-1")
    try:
        STREAMS_CLOSED.add(1, "drained")
        wait_until(lambda: "metrics can't be exported" in caplog.text, "the outage is logged")
        with grpc_sink(port) as (collector, _):
            request = collector.wait_for()
            wait_until(lambda: "metrics are exported again" in caplog.text, "its end is logged")
    finally:
        stop()
    closed = points_of(metrics_of(request)["tokenwire.streams.closed"])
    assert closed[("outcome", "drained"),].as_int == 1
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("tokenwire")]
    assert [text.partition(":")[0].partition(" after")[0] for text in texts[:2]] == [
        "metrics can't be exported",
        "metrics are exported again",
    ]
    assert "UNAVAILABLE" in texts[0] or "DEADLINE_EXCEEDED" in texts[0]
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_the_end_does_not_wait_for_a_dead_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds at most, whatever the exporter's own patience is."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    stop = set_up_metrics("edge", instance_id="edge-1")
    began = time.monotonic()
    stop()
    assert time.monotonic() - began < 5
    stop()
