"""From a request on a link to a follow that can be read: as a call would start or follow a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from google.protobuf.duration_pb2 import Duration
from opentelemetry.context import Context

from agent_core.errors import DeadlineError
from agent_core.log.contract import START
from agent_core.log.encoding import NANO
from agent_core.rpc.authentication import Callers
from agent_core.rpc.link.follow import SLICE_BYTES, LinkFollow
from agent_core.rpc.refusals import Refusals
from agent_core.rpc.run_access import RunAccess, position_of
from agent_core.runs.follower import Follower, FollowRequest
from agent_core.runs.limits import Limiter
from agent_core.telemetry.rpc_span import incoming_context
from tokenwire.v1 import link_pb2
from tokenwire.v1.link_pb2 import LinkCaller, LinkStart
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CANCEL

AuthContext: TypeAlias = Mapping[str, Iterable[bytes]]

MAX_LEFT_S: Final = 10 * 365 * 24 * 3600.0
"""A deadline further away is none: ten years."""


class LinkParts(NamedTuple):
    """What the links of a core share."""

    access: RunAccess
    """Starts runs, and knows all of them."""
    limiter: Limiter
    """Counts follows."""
    callers: Callers
    """Tells on whose behalf an edge asks."""
    refusals: Refusals
    """Says what is told of failures."""
    tasks: set[asyncio.Task[None]]
    """What is under way for links, also for those that are over."""
    closing: set[asyncio.Task[None]]
    """What is being closed."""


class Opener:
    """Opens follows.

    Args:
        parts: What the links share.
        auth_context: What gRPC knows of the edge's certificate.
    """

    def __init__(self, parts: LinkParts, auth_context: AuthContext) -> None:
        self._parts = parts
        self._auth_context = auth_context

    async def start(self, follow: LinkFollow, start: LinkStart, deadline: float | None) -> Follower:
        """Return the follower of the run that stands for a start. It is the caller's to close.

        Args:
            follow: Gets the principal, and a place among the follows.
            start: What is asked.
            deadline: When the call would end, in seconds of the monotonic clock; None for never.

        Raises:
            RefusalError: The run can't be started.
            LogAwayError: The log does not answer.
        """
        self._take_principal(follow, start.caller)
        self._take_place(follow)
        run_id = await self._parts.access.start(
            start.run, follow.principal, ON_DISCONNECT_CANCEL, follow.span, deadline
        )
        asked = FollowRequest(
            run_id, follow.principal, START, relay=True, say_caught_up=False, max_bytes=SLICE_BYTES
        )
        return await self._parts.access.manager.follow(asked)

    async def follow(self, follow: LinkFollow, request: link_pb2.LinkFollow) -> Follower:
        """Return the follower of a run. It is the caller's to close.

        Args:
            follow: Gets the principal, and a place among the follows.
            request: What is asked.

        Raises:
            RefusalError: The run can't be followed.
            LogAwayError: The log does not answer.
        """
        self._take_principal(follow, request.caller)
        self._parts.access.link_spans(request.run_id, follow.principal, follow.span)
        self._take_place(follow)
        asked = FollowRequest(
            request.run_id,
            follow.principal,
            position_of(request.after),
            relay=True,
            say_caught_up=True,
            max_bytes=SLICE_BYTES,
        )
        return await self._parts.access.manager.follow(asked)

    def principal_of(self, caller: LinkCaller) -> str:
        """Return on whose behalf the edge asks.

        Raises:
            RefusalError: Nothing proves it.
        """
        return self._parts.callers.caller_of(caller.principal_token or None, self._auth_context)

    def close(self, follow: LinkFollow) -> None:
        """Give the place of a follow back, if it has one."""
        if follow.has_place:
            follow.has_place = False
            self._parts.limiter.end_follow(follow.principal)

    def _take_principal(self, follow: LinkFollow, caller: LinkCaller) -> None:
        follow.principal = self.principal_of(caller)

    def _take_place(self, follow: LinkFollow) -> None:
        self._parts.limiter.start_follow(follow.principal)
        follow.has_place = True


def context_of(caller: LinkCaller) -> Context:
    """Return the trace context that a caller is in; an empty one where there is none."""
    given = (("traceparent", caller.traceparent), ("tracestate", caller.tracestate))
    return incoming_context((key, value) for key, value in given if value)


def left_s(caller: LinkCaller) -> float | None:
    """Return how many seconds are left until a caller's deadline; None where there is none.

    Raises:
        DeadlineError: It has passed.
    """
    if not caller.HasField("deadline"):
        return None
    left = seconds_of(caller.deadline)
    if left <= 0:
        raise DeadlineError
    return left if left < MAX_LEFT_S else None


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds, also of one that is malformed."""
    return duration.seconds + duration.nanos / NANO
