"""The times of tokens, as the metrics count them."""

from __future__ import annotations

from tokenwire.latency import HOPS
from tokenwire.latency.series import Waits
from tokenwire.telemetry.metrics.instruments import STAGE_DURATION, TOKEN_GAP, TOKENS


def count_waits(waits: Waits) -> None:
    """Count how long some live tokens took.

    Args:
        waits: From a stream's series.
    """
    TOKEN_GAP.observe_many_nano(waits.gaps)
    for hop, nanos in zip(HOPS, waits.hops, strict=False):
        STAGE_DURATION.observe_many_nano(nanos, (hop,))
    TOKENS.add(len(waits.hops[-1]))
