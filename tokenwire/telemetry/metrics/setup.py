"""Sets a process's metrics up: what it is called, and whether its numbers are exported."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from tokenwire.telemetry.collector import (
    GRPC_UNPROXIED,
    collector_is_near,
    exporter_name,
    http_session,
    otlp_protocol,
    resource_attributes,
)
from tokenwire.telemetry.losses import lost_spans
from tokenwire.telemetry.metrics.home import home
from tokenwire.telemetry.metrics.instruments import TELEMETRY_DROPPED
from tokenwire.telemetry.scope import SCOPES

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData

INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_MS: Final = 60_000
"""The SDK's own default."""

SCRAPED: Final = "prometheus"
"""The exporter that `/metrics` is, whatever the variable says."""


def set_up_metrics(process: Literal["edge", "core"], *, instance_id: str) -> Callable[[], None]:
    """Begin to count, and to export where the environment asks for it; return what ends the export.

    Called once per process, after any fork.

    Args:
        process: Which one this is.
        instance_id: `service.instance.id`, the same as for traces.

    Raises:
        ValueError: A variable of OpenTelemetry's has a value that is not known here.
    """
    home().resource = resource_attributes(f"tokenwire-{process}", instance_id)
    home().begin(process)
    TELEMETRY_DROPPED.read_from(lambda: {(why,): spans for why, spans in lost_spans().items()})
    name = exporter_name("metrics")
    if name in {"none", SCRAPED}:
        return lambda: None
    interval_s = _interval_s()

    # Imported late: where nothing is exported, neither the SDK nor the exporters are loaded.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    from tokenwire.telemetry.metrics.export import MetricsExport  # noqa: PLC0415
    from tokenwire.telemetry.metrics.otlp import metrics_data  # noqa: PLC0415

    resource, begin_unix_ns = Resource.create(home().resource), time.time_ns()
    scope = SCOPES[f"tokenwire-{process}"]

    def collect() -> MetricsData:
        return metrics_data(home(), resource, scope, begin_unix_ns, time.time_ns())

    export = MetricsExport(_exporter(name), collect, interval_s)
    export.start()
    return export.stop


def _interval_s() -> float:
    """Return how long to wait between two exports, in seconds.

    Raises:
        ValueError: The variable is no number of milliseconds.
    """
    text = os.environ.get(INTERVAL, "").strip() or str(INTERVAL_MS)
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError(f"{INTERVAL}: {text!r} is not a number of milliseconds")
    return int(text) / 1000


def _exporter(name: str) -> MetricExporter:
    """Return the exporter of a name.

    Raises:
        ValueError: It is not known here.
    """
    if name == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

        return ConsoleMetricExporter()
    if name != "otlp":
        raise ValueError(f"OTEL_METRICS_EXPORTER: {name!r} is not one of otlp, console, prometheus, none")
    if otlp_protocol("metrics") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter(channel_options=GRPC_UNPROXIED if collector_is_near("metrics") else None)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter as HttpExporter,
    )

    return HttpExporter(session=http_session("metrics"))
