"""This process's clock, and what spans say of those of cores on other machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.util.types import AttributeValue

from edge.sse.stamps import EdgeClock
from tokenwire.latency.clock_bounds import Offset
from tokenwire.telemetry import attributes, monotonic_nano
from tokenwire.telemetry.clock import clock_id, clock_tag

MICRO: Final = 1_000


def own_clock() -> EdgeClock:
    """Return this process's clock, with the wall clock as it goes now."""
    return EdgeClock(clock_id(), clock_tag(), time.time_ns() - monotonic_nano())


def clock_attributes(offset: Offset | None) -> Mapping[str, AttributeValue]:
    """Return what spans say of the clock of a core on another machine.

    Args:
        offset: How far ours is ahead of it; None where that is not known.
    """
    if offset is None:
        return {attributes.CLOCK_METHOD: "none"}
    return {
        attributes.CLOCK_OFFSET_US: round(offset.nano / MICRO),
        attributes.CLOCK_ERROR_US: -(-offset.error_nano // MICRO),
        attributes.CLOCK_METHOD: "bounds",
    }
