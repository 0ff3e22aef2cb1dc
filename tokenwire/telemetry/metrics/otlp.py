"""The numbers as OTLP has them: cumulative points, made of the same arrays that `/metrics` shows.

Only loaded where metrics are exported: it loads the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as OtlpHistogram
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tokenwire.telemetry.metrics.home import AnyInstrument, Home
from tokenwire.telemetry.metrics.series import NANO, Exemplar, Histogram, HistogramPoint, Key, NumberPoint
from tokenwire.telemetry.scope import VERSION


def metrics_data(
    home: Home, resource: Resource, scope: str, begin_unix_ns: int, now_unix_ns: int
) -> MetricsData:
    """Return all numbers of a process.

    Args:
        home: Whose numbers.
        resource: What the process is.
        scope: The scope's name, the same as of its spans.
        begin_unix_ns: Since when they are counted.
        now_unix_ns: The time now.
    """
    times = (begin_unix_ns, now_unix_ns)
    metrics = [metric for each in home if (metric := _metric(each, times)) is not None]
    of_scope = ScopeMetrics(InstrumentationScope(scope, VERSION), metrics, "")
    return MetricsData([ResourceMetrics(resource, [of_scope], "")])


def _metric(instrument: AnyInstrument, times: tuple[int, int]) -> Metric | None:
    """Return an instrument's numbers; None while it has no series."""
    declaration, cumulative = instrument.declaration, AggregationTemporality.CUMULATIVE
    data: OtlpHistogram | Sum | Gauge
    if isinstance(instrument, Histogram):
        data = OtlpHistogram(
            [_histogram(instrument, key, point, times) for key, point in instrument.points().items()],
            cumulative,
        )
    else:
        numbers = [_number(instrument, key, point, times) for key, point in instrument.points().items()]
        is_counter = declaration.kind == "counter"
        data = Sum(numbers, cumulative, is_monotonic=True) if is_counter else Gauge(numbers)
    if not data.data_points:
        return None
    return Metric(declaration.name, declaration.description, declaration.unit, data)


def _histogram(
    instrument: AnyInstrument, key: Key, point: HistogramPoint, times: tuple[int, int]
) -> HistogramDataPoint:
    count = sum(point.counts)
    return HistogramDataPoint(
        attributes=_attributes(instrument, key),
        start_time_unix_nano=times[0],
        time_unix_nano=times[1],
        count=count,
        sum=point.total_nano / NANO,
        bucket_counts=point.counts,
        explicit_bounds=[bound / NANO for bound in instrument.declaration.bounds_nano],
        min=point.min_nano / NANO if count else 0.0,
        max=point.max_nano / NANO,
        exemplars=[_exemplar(exemplar) for _, exemplar in sorted(point.exemplars.items())],
    )


def _number(
    instrument: AnyInstrument, key: Key, point: NumberPoint, times: tuple[int, int]
) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=_attributes(instrument, key),
        start_time_unix_nano=times[0],
        time_unix_nano=times[1],
        value=point.value,
        exemplars=[_exemplar(point.exemplar)] if point.exemplar is not None else [],
    )


def _attributes(instrument: AnyInstrument, key: Key) -> Mapping[str, str]:
    # An empty one is one that is not there, as Prometheus has it.
    return {name: value for name, value in zip(instrument.declaration.labels, key, strict=True) if value}


def _exemplar(exemplar: Exemplar) -> OtlpExemplar:
    return OtlpExemplar(
        filtered_attributes={"sequence": exemplar.sequence},
        value=float(exemplar.value),
        time_unix_nano=exemplar.unix_ns,
        span_id=int(exemplar.span_id, 16),
        trace_id=int(exemplar.trace_id, 16),
    )
