"""Turns tracing on when the standard OpenTelemetry variables, or TOKENWIRE_TRACE_FILE, ask for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from tokenwire.telemetry.collector import (
    GRPC_UNPROXIED,
    collector_is_near,
    exporter_name,
    http_session,
    is_disabled,
    otlp_protocol,
    resource_attributes,
)
from tokenwire.telemetry.installed import install
from tokenwire.telemetry.scope import SCHEMA_URL, SCOPES, VERSION, name_scope
from tokenwire.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

    from tokenwire.telemetry.pipeline import Tracing

FILE_DELAY_MS: Final = 1_000.0
"""How long a finished span waits at most before it is in the trace file: someone looks there next."""


def traces_exporter() -> str:
    """Return which exporter the environment asks for: "otlp", "console" or "none"."""
    return exporter_name("traces")


def set_up_tracing(
    service_name: str, *, instance_id: str, settings: TelemetrySettings | None = None
) -> Callable[[], None]:
    """Install the process's tracer provider and return what flushes and stops it.

    Called once per process, after any fork. Does nothing when tracing is off: the API then
    hands out spans that record nothing.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME says otherwise. Names the scope, too.
        instance_id: `service.instance.id`, unique among the processes of the service.
        settings: Whether there is a trace file, and whether bad streams are kept; None for the defaults.

    Raises:
        ValueError: OTEL_TRACES_EXPORTER names an exporter that is not known here, or the trace file can't
            be written.
    """
    settings = settings or TelemetrySettings()
    name_scope(service_name)
    exporter = traces_exporter()
    trace_file = None if is_disabled() else settings.trace_file
    if exporter == "none" and trace_file is None:
        return lambda: None

    # Imported late: with tracing off neither the SDK nor the exporters are loaded.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    from tokenwire.telemetry.pipeline import CountingProcessor, max_queue_size  # noqa: PLC0415
    from tokenwire.telemetry.trace_file import TraceFileExporter  # noqa: PLC0415

    size = max_queue_size()
    processors: list[SpanProcessor] = []
    if trace_file is not None:
        delay_ms = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY") else FILE_DELAY_MS
        to_file = TraceFileExporter(trace_file)
        processors.append(CountingProcessor(to_file, max_queue_size=size, schedule_delay_ms=delay_ms))
    if exporter != "none":
        processors.append(CountingProcessor(_exporter(exporter), max_queue_size=size))

    resource = Resource.create(resource_attributes(service_name, instance_id))
    scope = SCOPES.get(service_name, service_name)
    keeps = settings.trace_detail != "off"
    return install_tracing(make_tracing(processors, scope=scope, resource=resource, keeps=keeps))


def install_tracing(tracing: Tracing) -> Callable[[], None]:
    """Make a tracing the process's, once; return what flushes and stops it.

    Args:
        tracing: From `make_tracing`.
    """
    install(tracing)
    trace.set_tracer_provider(tracing.provider)
    return tracing.provider.shutdown


def make_tracing(
    processors: Sequence[SpanProcessor],
    *,
    scope: str,
    sampler: Sampler | None = None,
    resource: Resource | None = None,
    keeps: bool = True,
) -> Tracing:
    """Return a tracer provider and what finished spans need.

    Args:
        processors: What is given each finished span that is exported.
        scope: The name of the scope of all spans.
        sampler: Chooses the traces; None for the operator's own, OTEL_TRACES_SAMPLER.
        resource: What the spans' source is; None for the SDK's own.
        keeps: Whether streams that stalled or failed are kept though they were not sampled.
    """
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    from tokenwire.telemetry.pipeline import Pipeline, Tracing  # noqa: PLC0415
    from tokenwire.telemetry.sampling import OFF, StreamSampler  # noqa: PLC0415

    provider = TracerProvider(sampler=sampler, resource=resource)
    if sampler is None and os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() in OFF:
        keeps = False
    # The provider reads the operator's choice from the environment. No tracer has it yet: it can be wrapped.
    provider.sampler = StreamSampler(provider.sampler, keeps=keeps)
    pipeline = Pipeline(processors)
    provider.add_span_processor(pipeline)
    return Tracing(provider, pipeline, InstrumentationScope(scope, VERSION, SCHEMA_URL), keeps=keeps)


def _exporter(name: str) -> SpanExporter:
    """Return the exporter of a name.

    Raises:
        ValueError: It is not known here.
    """
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    if name == "otlp":
        return _otlp_exporter()
    message = f"OTEL_TRACES_EXPORTER: {name!r} is not one of otlp, console, none"
    raise ValueError(message)


def _otlp_exporter() -> SpanExporter:
    """Return the OTLP exporter of the protocol that the environment names."""
    if otlp_protocol("traces") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(channel_options=GRPC_UNPROXIED if collector_is_near("traces") else None)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(session=http_session("traces"))
