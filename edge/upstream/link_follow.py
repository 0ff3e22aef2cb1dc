"""One run over a link: its credit, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.trace import SpanContext

from edge.errors import UpstreamError
from edge.telemetry.client_span import StreamSpan
from edge.upstream.contract import Leave
from edge.upstream.source import SourceOwner, ended_early
from edge.upstream.status import link_error
from tokenwire.v1 import link_pb2
from tokenwire.v1.link_pb2 import FollowCredit, LinkCredit, LinkRequest, LinkUnfollow

if TYPE_CHECKING:
    from edge.upstream.link import Link

WINDOW_EVENTS: Final = 1_024
"""How many events the core may send before it is given more credit. The bytes are the client's budget."""

LOW_EVENTS: Final = WINDOW_EVENTS // 2
"""More credit is given when less than so much is left; of the bytes, too, when less than half is."""

UNFOLLOW: Final = {
    Leave.LEFT: link_pb2.UNFOLLOW_REASON_LEFT,
    Leave.EVICTED: link_pb2.UNFOLLOW_REASON_EVICTED,
    Leave.DRAINED: link_pb2.UNFOLLOW_REASON_DRAIN,
    Leave.BROKEN: link_pb2.UNFOLLOW_REASON_UNSPECIFIED,
    Leave.ENDED: link_pb2.UNFOLLOW_REASON_UNSPECIFIED,
}
"""What the core is told: it reads UNSPECIFIED as DRAIN."""


class Outgoing(NamedTuple):
    """What is to be written."""

    request: LinkRequest
    follow: LinkFollow | None = None
    """The follow that it asks for."""
    otherwise: Callable[[], None] | None = None
    """Called where the link breaks before it is written."""


class LinkFollow:
    """A start or a follow on a link.

    Args:
        link: The link.
        span: Its CLIENT span, ended here.
        owner: Whose reader is fed.
        is_start: Whether it starts its run.
    """

    __slots__ = (
        "_is_over",
        "_is_start",
        "_link",
        "_span",
        "bytes_left",
        "events_left",
        "heard",
        "id",
        "is_asked",
        "lag_nano",
        "owner",
    )

    def __init__(self, link: Link, span: StreamSpan, owner: SourceOwner, *, is_start: bool) -> None:
        self.id = link.next_id()
        """Its id on the link."""
        self.owner = owner
        """Owns it."""
        self.is_asked = False
        """Whether it was asked for."""
        self.lag_nano = link.lag_nano
        """As much of the link's as its sink was told."""
        self.events_left = WINDOW_EVENTS
        """How many events the core may still send. As `bytes_left`, counted down by the link."""
        self.bytes_left = link.budget_bytes
        """How many bytes of events it may still send. The last event may take more."""
        self.heard = False
        """Whether `first` was called."""
        self._link = link
        self._span = span
        self._is_start = is_start
        self._is_over = False

    @property
    def span_context(self) -> SpanContext:
        """Names its CLIENT span."""
        return self._span.context

    def first_credit(self) -> FollowCredit:
        """Return what the core may send at first."""
        return FollowCredit(events=self.events_left, bytes=self.bytes_left)

    def first(self) -> None:
        """Learn that something comes, for the first time."""
        self.heard = True
        self._span.heard()
        self.owner.on_first()

    def resume(self) -> None:
        """Give the core credit for what was taken, if that is more than half and the sink has room."""
        sink = self.owner.reader.sink
        if self._is_over or sink is None or sink.full:
            return
        budget_bytes = self._link.budget_bytes
        if self.events_left >= LOW_EVENTS and self.bytes_left >= budget_bytes // 2:
            return
        more = FollowCredit(events=WINDOW_EVENTS - self.events_left, bytes=budget_bytes - self.bytes_left)
        self.events_left, self.bytes_left = WINDOW_EVENTS, budget_bytes
        self._link.send(Outgoing(LinkRequest(credit=LinkCredit(follow_id=self.id, credit=more))))

    def leave(self, otherwise: Callable[[], None]) -> bool:
        """Tell the core that the follower left by itself, and close.

        Args:
            otherwise: Called where the link breaks before it is told.

        Returns:
            Whether that was done: not for a run that the core was never asked to follow.
        """
        if not self.is_asked and not self._is_start:
            return False
        self._close(Leave.LEFT, otherwise)
        return True

    def finish(self) -> None:
        """Close: the terminal event has come, and the core ends it by itself."""
        self._over("OK")

    def close(self, reason: Leave) -> None:
        """Close at once.

        Args:
            reason: Why.
        """
        self._close(reason, None)

    def broke(self, failure: UpstreamError, *, is_refusal: bool) -> None:
        """Learn that the link is over.

        Args:
            failure: Why.
            is_refusal: Whether the core has no link: then nothing was asked.
        """
        self._is_over = True
        if is_refusal:
            self._span.discard()
            self.owner.on_refused()
            return
        self._span.end(failure.code, answered="reason" in failure.details)
        self.owner.on_failed(failure)

    def end(self, end: link_pb2.LinkEnd) -> None:
        """Learn that the core has ended it.

        Args:
            end: Why.
        """
        if self._is_over:
            return
        if end.HasField("error"):
            self._over(end.error.code, answered=True)
            self.owner.on_failed(link_error(end.error))
        else:
            self._over("OK")
            self.owner.on_failed(ended_early())

    def _close(self, reason: Leave, otherwise: Callable[[], None] | None) -> None:
        if self._is_over:
            return
        self._over("CANCELLED")
        if self.is_asked:
            unfollow = LinkUnfollow(follow_id=self.id, reason=UNFOLLOW[reason])
            self._link.send(Outgoing(LinkRequest(unfollow=unfollow), None, otherwise))

    def _over(self, code: str, *, answered: bool = False) -> None:
        self._is_over = True
        self._link.forget(self)
        self._span.end(code, answered=answered)
