"""Where the processes of one command serve their metrics: each has its own port, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tokenwire.addresses import MAX_PORT
from tokenwire.cli import ports

HOST: Final = "TOKENWIRE_METRICS_HOST"
PORT: Final = "TOKENWIRE_METRICS_PORT"


class MetricsPorts(NamedTuple):
    """What each process is given besides."""

    core: Mapping[str, str]
    """The core's variables."""
    edge: Mapping[str, str]
    """The edge's variables: its workers have this port and those that follow."""


def claim_metrics_ports(inherited: Mapping[str, str], workers: int) -> MetricsPorts:
    """Return where each process serves its metrics: the core at the port that is set, the edge at the next.

    Args:
        inherited: The environment.
        workers: How many processes the edge has.

    Raises:
        PortError: A port can't be had.
    """
    text = inherited.get(PORT, "")
    if not (text.isascii() and text.isdigit()):
        # None is set, or none that is a number: then the processes say so themselves.
        return MetricsPorts({}, {})
    first = int(text)
    if first == 0:
        return MetricsPorts({}, {})
    if first + workers > MAX_PORT:
        raise ports.PortError(
            f"{PORT}={first}: with {workers} edge processes the last port would be above {MAX_PORT}."
        )
    host = inherited.get(HOST) or "127.0.0.1"
    for port in range(first, first + workers + 1):
        ports.claim(host, port, option=PORT)
    return MetricsPorts({PORT: str(first)}, {PORT: str(first + 1)})
