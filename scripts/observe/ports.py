"""The ports that `make observe` gives to its processes: the usual ones, or the next that are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenwire.addresses import MAX_PORT, try_bind

LOOPBACK: Final = "127.0.0.1"
PAGE: Final = 8000
GRPC: Final = 50051
CORE_METRICS: Final = 9464
OTLP_GRPC: Final = 4317
OTLP_HTTP: Final = 4318
PHOENIX: Final = 6006
PROMETHEUS: Final = 9090


@dataclass(frozen=True, slots=True)
class Ports:
    """One for each listener, all different."""

    page: int
    grpc: int
    core_metrics: int
    """The edge's is the next one: `tokenwire up` counts on from the core's."""
    otlp_grpc: int
    otlp_http: int
    phoenix: int
    prometheus: int


def find_ports(first: int | None = None) -> Ports:
    """Return ports that were free a moment ago.

    Args:
        first: They are this one and the next that are free, instead of the usual ones.

    Raises:
        OSError: There is none.
    """
    taken: set[int] = set()
    return Ports(
        page=_free(first or PAGE, taken),
        grpc=_free(first or GRPC, taken),
        core_metrics=_free(first or CORE_METRICS, taken, count=2),
        otlp_grpc=_free(first or OTLP_GRPC, taken),
        otlp_http=_free(first or OTLP_HTTP, taken),
        phoenix=_free(first or PHOENIX, taken),
        prometheus=_free(first or PROMETHEUS, taken),
    )


def _free(first: int, taken: set[int], count: int = 1) -> int:
    """Return the first of `count` ports in a row that are free from one on, and take them."""
    for port in range(first, MAX_PORT - count):
        row = range(port, port + count)
        if taken.isdisjoint(row) and all(map(_is_free, row)):
            taken.update(row)
            return port
    raise OSError(f"No port is free from {first} on.")


def _is_free(port: int) -> bool:
    try:
        try_bind(LOOPBACK, port)
    except OSError:
        return False
    return True
