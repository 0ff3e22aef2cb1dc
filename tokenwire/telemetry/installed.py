"""What the process's finished spans need, known without the SDK: that is not loaded while tracing is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenwire.telemetry.pipeline import Tracing

_tracing: Tracing | None = None


def install(tracing: Tracing | None) -> None:
    """Make it the process's; None to take it away."""
    global _tracing  # noqa: PLW0603 # one a process
    _tracing = tracing


def installed() -> Tracing | None:
    """Return the process's; None while tracing is off."""
    return _tracing
