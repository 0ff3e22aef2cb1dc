"""How a run ended."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """Which terminal event a run ended in."""

    event: str
    """The terminal event's name: "done" or "error"."""
    reason: str
    """The finish reason's name of a Done, or the canonical gRPC code's name of an Error."""
