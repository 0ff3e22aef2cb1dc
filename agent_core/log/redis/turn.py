"""A turn's appends as `turn.lua` reads them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from agent_core.log.budget import LogBudget, ring_target
from agent_core.log.redis.calls import OPEN_TTL_MS, owner_step, owner_ttl_ms

MAX_TURN_BYTES: Final = 64 * 1024
"""The most bytes of one script, but for its first run: some 500 tokens of as many runs. They take Redis 4 ms,
in which it does nothing else."""

_LIMITS: Final = Struct("<8Q")
_RUN: Final = Struct("<IQBI")
_LENGTH: Final = Struct("<I")
_RUN_OF_ONE: Final = Struct("<IQBII")


def pack_limits(budget: LogBudget) -> bytes:
    """Return what holds for all runs: rings, time to live, and the shares of their owners."""
    return _LIMITS.pack(
        *(budget.run_events, budget.run_bytes),
        *(ring_target(budget.run_events), ring_target(budget.run_bytes)),
        *(OPEN_TTL_MS, budget.principal_bytes, owner_step(budget), owner_ttl_ms(budget)),
    )


def pack_run(
    epoch: int, first: int, events: Sequence[bytes], *, renew: bool = False, publish: bool = False
) -> bytes:
    """Return the append of one run.

    Args:
        epoch: The writer's generation.
        first: The number of the first event.
        events: Sealed with their numbers and their epoch.
        renew: Whether the keys' time to live begins anew.
        publish: Whether a reader elsewhere waits for it that has not marked the run.
    """
    flags = renew | publish << 1
    if len(events) == 1:
        return _RUN_OF_ONE.pack(epoch, first, flags, 1, len(events[0])) + events[0]
    parts = [_RUN.pack(epoch, first, flags, len(events))]
    for event in events:
        parts += (_LENGTH.pack(len(event)), event)
    return b"".join(parts)
