"""Counts the spans that were lost, by reason. The metric `tokenwire.telemetry.dropped` shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

LossReason: TypeAlias = Literal["queue_full", "export_failed", "kept_rate", "recorder_failed"]
"""Why a span was lost: too many waited for export; the collector or the file did not take it; too many
unsampled streams were to be kept within a second; or a stream's tokens could not be recorded. The last two
are counted once for each stream."""

REASONS: Final[tuple[LossReason, ...]] = ("queue_full", "export_failed", "kept_rate", "recorder_failed")

_lost: Final[Counter[LossReason]] = Counter(dict.fromkeys(REASONS, 0))


def count_lost(reason: LossReason, spans: int = 1) -> None:
    """Count spans that were lost. Any thread may call it: a count may then be short by a few.

    Args:
        reason: Why.
        spans: How many.
    """
    _lost[reason] += spans


def lost_spans() -> Mapping[LossReason, int]:
    """Return how many spans this process has lost since it started, for each reason."""
    return dict(_lost)
