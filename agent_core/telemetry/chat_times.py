"""How long the parts of a model call took, for the metrics `gen_ai.client.inference.*`."""

from __future__ import annotations

from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.metrics.instruments import (
    GEN_AI_DURATION,
    GEN_AI_TIME_PER_OUTPUT_CHUNK,
    GEN_AI_TIME_TO_FIRST_CHUNK,
)
from tokenwire.telemetry.metrics.series import BUFFERED, NANO


class ChatTimes:
    """The times of one call, which begins now.

    Args:
        operation: `chat`.
        provider: Who runs the model.
        model: The model's name.
    """

    def __init__(self, operation: str, provider: str, model: str) -> None:
        self._labels = (operation, provider, model)
        self._began = monotonic_nano()
        self._last = 0
        self._gaps: list[int] = []

    def chunk(self) -> float | None:
        """Take note that a piece of the answer came; return the seconds up to it where it is the first."""
        now = monotonic_nano()
        last, self._last = self._last, now
        if last:
            self._gaps.append(now - last)
            if len(self._gaps) >= BUFFERED:
                self._count_gaps()
            return None
        first_s = (now - self._began) / NANO
        GEN_AI_TIME_TO_FIRST_CHUNK.observe(first_s, *self._labels)
        return first_s

    def end(self, error_type: str = "") -> None:
        """Take note that the call is over.

        Args:
            error_type: What ended it; empty where it came to its own end.
        """
        self._count_gaps()
        GEN_AI_DURATION.observe((monotonic_nano() - self._began) / NANO, *self._labels, error_type)

    def _count_gaps(self) -> None:
        GEN_AI_TIME_PER_OUTPUT_CHUNK.observe_many_nano(self._gaps, self._labels)
        self._gaps.clear()
