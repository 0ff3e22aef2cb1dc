"""What the standard OpenTelemetry variables say of the collector, for one signal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from tokenwire.addresses import is_loopback
from tokenwire.telemetry.scope import VERSION

if TYPE_CHECKING:
    from requests import Session

Signal: TypeAlias = Literal["traces", "metrics"]

GRPC_UNPROXIED: Any = (("grpc.enable_http_proxy", 0),)
"""Channel options: no proxy is asked."""

_PREFIX: Final = "OTEL_EXPORTER_OTLP"


def is_disabled() -> bool:
    """Return whether the environment turns all of OpenTelemetry off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporter_name(signal: Signal) -> str:
    """Return which exporter the environment asks for: "none", unless a variable says more.

    Unlike the SDK's own default, nothing is exported unless a variable asks for it.

    Args:
        signal: What would be exported.

    Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if is_disabled():
        return "none"
    chosen = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
    return chosen or ("otlp" if _value("ENDPOINT", signal) else "none")


def otlp_protocol(signal: Signal) -> str:
    """Return which protocol the environment names: grpc unless http/protobuf.

    Args:
        signal: What is exported.

    Raises:
        ValueError: It is not one of these.
    """
    protocol = _value("PROTOCOL", signal) or "grpc"
    if protocol not in {"grpc", "http/protobuf"}:
        message = f"{_PREFIX}_PROTOCOL: {protocol!r} is not one of grpc, http/protobuf"
        raise ValueError(message)
    return protocol


def collector_is_near(signal: Signal) -> bool:
    """Return whether the collector is on this machine: then no proxy is asked to reach it.

    Args:
        signal: What is exported.
    """
    endpoint = _value("ENDPOINT", signal) or "localhost"
    return is_loopback(urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "")


def http_session(signal: Signal) -> Session | None:
    """Return the session that asks no proxy, for a collector on this machine; None for the exporter's own.

    Args:
        signal: What is exported.
    """
    if not collector_is_near(signal):
        return None
    import requests  # noqa: PLC0415 # only where it is needed

    session = requests.Session()
    session.trust_env = False
    return session


def resource_attributes(service_name: str, instance_id: str) -> dict[str, str]:
    """Return what tells this process from others: equal for all that it exports.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME says otherwise.
        instance_id: `service.instance.id`, unique among the processes of the service.
    """
    return {
        "service.name": os.environ.get("OTEL_SERVICE_NAME") or service_name,
        "service.version": VERSION,
        "service.instance.id": instance_id,
    }


def _value(name: str, signal: Signal) -> str:
    """Return a variable's value: the signal's own goes before that of all."""
    return os.environ.get(f"{_PREFIX}_{signal.upper()}_{name}") or os.environ.get(f"{_PREFIX}_{name}", "")
