"""Turns tracing on when the standard OpenTelemetry variables ask for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace

from tokenwire.addresses import is_loopback

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_GRPC_UNPROXIED: Any = (("grpc.enable_http_proxy", 0),)
MAX_QUEUE_SIZE = 16_384
"""Spans that wait for export. The SDK's 2,048 lose the oldest ones in a burst, with little said."""


def traces_exporter() -> str:
    """Return which exporter the environment asks for: "otlp", "console" or "none".

    Unlike the SDK's own default, nothing is exported unless a variable asks for it.

    Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    chosen = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if chosen:
        return chosen
    return "otlp" if any(os.environ.get(name) for name in ENDPOINTS) else "none"


def set_up_tracing(service_name: str, *, instance_id: str) -> Callable[[], None]:
    """Install the process's tracer provider and return what flushes and stops it.

    Called once per process, after any fork. Does nothing when tracing is off: the API then
    hands out spans that record nothing.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME says otherwise.
        instance_id: `service.instance.id`, unique among the processes of the service.

    Raises:
        ValueError: OTEL_TRACES_EXPORTER names an exporter that is not known here.
    """
    exporter_name = traces_exporter()
    if exporter_name == "none":
        return lambda: None

    # Imported late: with tracing off neither the SDK nor the exporters are loaded.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
    )

    exporter: SpanExporter
    if exporter_name == "console":
        exporter = ConsoleSpanExporter()
    elif exporter_name == "otlp":
        exporter = _otlp_exporter()
    else:
        message = f"OTEL_TRACES_EXPORTER: {exporter_name!r} is not one of otlp, console, none"
        raise ValueError(message)

    resource = Resource.create({"service.name": service_name, "service.instance.id": instance_id})
    if os.environ.get("OTEL_SERVICE_NAME"):
        resource = resource.merge(Resource({"service.name": os.environ["OTEL_SERVICE_NAME"]}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MAX_QUEUE_SIZE))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _otlp_exporter() -> SpanExporter:
    """Return the OTLP exporter of the protocol that the environment names: grpc unless http/protobuf."""
    protocol = os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(channel_options=_GRPC_UNPROXIED if _collector_is_near() else None)
    if protocol == "http/protobuf":
        import requests  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as HttpExporter,
        )

        if not _collector_is_near():
            return HttpExporter()
        session = requests.Session()
        session.trust_env = False
        return HttpExporter(session=session)
    message = f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not one of grpc, http/protobuf"
    raise ValueError(message)


def _collector_is_near() -> bool:
    """Return whether the collector is on this machine: then no proxy is asked to reach it."""
    endpoint = next(filter(None, map(os.environ.get, reversed(ENDPOINTS))), "localhost")
    return is_loopback(urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "")
