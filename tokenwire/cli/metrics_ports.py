"""Where the processes of one command serve their metrics: each has its own port, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tokenwire.addresses import MAX_PORT
from tokenwire.cli import ports

HOST: Final = "TOKENWIRE_METRICS_HOST"
PORT: Final = "TOKENWIRE_METRICS_PORT"

_ANY: Final = "0"


class MetricsPorts(NamedTuple):
    """What each process is given besides."""

    core: Mapping[str, str]
    """The core's variables."""
    edges: tuple[Mapping[str, str], ...]
    """The variables of each edge."""


def claim_metrics_ports(inherited: Mapping[str, str], workers: int) -> MetricsPorts:
    """Return where each process serves its metrics.

    With a port, the core has it and the edges those that follow. Several edges share the page's port, where
    each scrape would meet another one: without a port they have any that is free, which their log names.

    Args:
        inherited: The environment.
        workers: How many edges there are.

    Raises:
        PortError: A port can't be had.
    """
    text = inherited.get(PORT, "")
    if not (text.isascii() and text.isdigit()):
        # None is set, or none that is a number: then the processes say so themselves.
        return MetricsPorts({}, (({PORT: _ANY} if workers > 1 and not text else {}),) * workers)
    first = int(text)
    if first == 0:
        return MetricsPorts({}, ({},) * workers)
    if first + workers > MAX_PORT:
        raise ports.PortError(
            f"{PORT}={first}: with {workers} edges the last port would be above {MAX_PORT}."
        )
    host = inherited.get(HOST) or "127.0.0.1"
    claimed = [
        {PORT: str(ports.claim(host, port, option=PORT))} for port in range(first, first + workers + 1)
    ]
    return MetricsPorts(claimed[0], tuple(claimed[1:]))
