"""What carries one run to its reader: a follow of a link, or a gRPC call of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opentelemetry.trace import SpanContext

from edge.errors import EdgeError, UpstreamError
from edge.upstream.contract import Leave
from edge.upstream.reader import RunReader
from tokenwire.reasons import Reason


class SourceOwner(Protocol):
    """Owns a source, one at a time, and its reader. A source that was closed calls it no more."""

    @property
    def reader(self) -> RunReader:
        """Is fed by the source."""

    def on_first(self) -> None:
        """Learn that the source brings something. Called before the reader is fed for the first time."""

    def on_change(self) -> None:
        """Learn that the reader has ended, or that the core shuts down."""

    def on_failed(self, error: EdgeError) -> None:
        """Learn that the source is over before the run is.

        Args:
            error: Why.
        """

    def on_crashed(self, error: Exception) -> None:
        """Learn that the reader, or its sink, has raised what it must not.

        Args:
            error: The same.
        """

    def on_refused(self) -> None:
        """Learn that the source was never used, since the core has no link: another one is to be opened."""


class Source(Protocol):
    """Feeds the reader of its owner."""

    @property
    def span_context(self) -> SpanContext:
        """Names its CLIENT span."""

    @property
    def is_asked(self) -> bool:
        """Whether its core has been asked for the run, or may have been."""

    def resume(self) -> None:
        """Go on: the sink has room again."""

    def leave(self, otherwise: Callable[[], None]) -> bool:
        """Tell the core that the follower left by itself, and close.

        Args:
            otherwise: Called where that could not be done after all.

        Returns:
            Whether that was done. If not, it is still open, and the core has to be told otherwise.
        """

    def finish(self) -> None:
        """Close once the core has ended it by itself: the terminal event has come."""

    def close(self, reason: Leave) -> None:
        """Close at once.

        Args:
            reason: Why.
        """


def ended_early() -> UpstreamError:
    """Return what is said of a source that ended in good order before its run."""
    return UpstreamError("UNAVAILABLE", details={"reason": Reason.STREAM_ENDED_EARLY})
