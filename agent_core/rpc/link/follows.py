"""The follows of one link: begun, opened, ended. What fails in one of them ends that one alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeAlias

from opentelemetry import trace

from agent_core.errors import DeadlineError, FollowIdReusedError, TooManyOpeningError
from agent_core.rpc.link.follow import LinkFollow
from agent_core.rpc.link.opening import LinkParts, Opener, context_of, left_s
from agent_core.rpc.link.writer import LinkWriter
from agent_core.rpc.validation import require_run_id
from agent_core.runs.follower import Follower
from agent_core.runs.run import StopCause
from agent_core.telemetry.rpc_span import end_rpc_span, start_rpc_span
from tokenwire.telemetry.attributes import TRANSPORT
from tokenwire.v1 import agent_service_pb2, link_pb2
from tokenwire.v1.link_pb2 import UNFOLLOW_REASON_LEFT, FollowCredit, LinkCaller

MAX_OPENING: Final = 10_000
"""The most starts, follows and cancels of one link that may be under way: as many streams as an edge may have
to take up again when a link broke. Each takes a few kB."""

SERVICE: Final = agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name
START_RUN: Final = f"{SERVICE}/StreamRun"
FOLLOW_RUN: Final = f"{SERVICE}/FollowRun"
CANCEL_RUN: Final = f"{SERVICE}/CancelRun"
"""The calls that requests of a link stand for."""

CANCELLED: Final = "CANCELLED"
"""The code of a call that its caller has ended."""

Open: TypeAlias = Callable[[LinkFollow, float | None], Coroutine[None, None, Follower]]
"""Opens a follow, with the call's deadline in seconds of the monotonic clock; None for none."""

logger = logging.getLogger(__name__)


class LinkFollows:
    """All that one edge follows at this core.

    Args:
        parts: What the links of a core share.
        opener: Opens them.
        write: Sends a message to the edge.
    """

    def __init__(self, parts: LinkParts, opener: Opener, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.writer = LinkWriter(write, parts.refusals, self._close)
        """Sends what is ready."""
        self._parts = parts
        self._manager = parts.access.manager
        self._opener = opener
        self._follows: dict[int, LinkFollow] = {}
        self._under_way = 0
        self._has_room = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        """Return how many there are, with those that are being opened."""
        return len(self._follows)

    def start(self, start: link_pb2.LinkStart) -> None:
        """Start a run and follow it."""

        def opened(follow: LinkFollow, deadline: float | None) -> Coroutine[None, None, Follower]:
            return self._opener.start(follow, start, deadline)

        self._begin(start.follow_id, START_RUN, start.caller, start.credit, opened)

    def follow(self, request: link_pb2.LinkFollow) -> None:
        """Follow a run after a cursor."""

        def opened(follow: LinkFollow, _: float | None) -> Coroutine[None, None, Follower]:
            return self._opener.follow(follow, request)

        self._begin(request.follow_id, FOLLOW_RUN, request.caller, request.credit, opened)

    def credit(self, credit: link_pb2.LinkCredit) -> None:
        """Allow more to be sent. Nothing happens when the follow has ended."""
        follow = self._follows.get(credit.follow_id)
        if follow is not None:
            follow.add(credit.credit)

    async def unfollow(self, unfollow: link_pb2.LinkUnfollow) -> None:
        """End a follow. Nothing happens when it has ended already."""
        follow = self._follows.get(unfollow.follow_id)
        if follow is None or follow.is_over:
            return
        follow.is_over = True
        by_itself = unfollow.reason == UNFOLLOW_REASON_LEFT
        if follow.opening is not None:
            # What was asked for is done all the same, and counts as followed and ended then.
            del self._follows[follow.id]
            follow.left_by_itself = by_itself
        elif follow.reading is not None:
            self.spawn_close(self._close(follow, CANCELLED, by_itself=by_itself))
        else:
            await self._close(follow, CANCELLED, by_itself=by_itself)

    async def cancel(self, cancel: link_pb2.LinkCancel) -> None:
        """Cancel a run, once not too much is under way: nothing could tell the edge that it was dropped."""
        while self._under_way >= MAX_OPENING:
            self._has_room.clear()
            await self._has_room.wait()
        self._spawn(self._cancel(cancel))

    async def close(self) -> None:
        """End all follows, since the link is over. Those behind the edge may still be there."""
        for follow in tuple(self._follows.values()):
            await self._close(follow, CANCELLED)
        self.writer.detach()

    def _begin(
        self, follow_id: int, method: str, caller: LinkCaller, credit: FollowCredit, opened: Open
    ) -> None:
        """Begin a follow. A task of its own opens it: an agent may take seconds to load."""
        other = self._follows.get(follow_id)
        if other is not None and not other.is_over:
            # Whatever was sent for this id now could be taken for the one or the other.
            self._end(other, FollowIdReusedError())
            return
        span = _start_span(method, caller, streams_run=True)
        follow = self._follows[follow_id] = LinkFollow(follow_id, method, span, credit, self.writer.mark)
        try:
            self._require_room()
            left = left_s(caller)
        except Exception as error:  # noqa: BLE001 # whatever it is, this follow ends with it
            self._end(follow, error)
            return
        deadline = None
        if left is not None:
            deadline = time.monotonic() + left
            follow.timer = self._loop.call_later(left, self._out_of_time, follow)
        follow.opening = self._spawn(self._opened(follow, opened, deadline))

    def _require_room(self) -> None:
        if self._under_way >= MAX_OPENING:
            raise TooManyOpeningError(MAX_OPENING)

    async def _opened(self, follow: LinkFollow, opened: Open, deadline: float | None) -> None:
        """Open a follow, and let it be read; or close it, where it was ended meanwhile."""
        try:
            follow.follower = await opened(follow, deadline)
        except asyncio.CancelledError:
            follow.opening = None
            await self._close(follow, CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 # whatever it is, this follow ends with it
            follow.opening = None
            self._end(follow, error)
            return
        follow.opening = None
        if follow.is_over:
            await self._close(follow, CANCELLED, by_itself=follow.left_by_itself)
        else:
            follow.begin()

    def _out_of_time(self, follow: LinkFollow) -> None:
        """End a follow at its deadline. A run that was started ends with it, and its end is still told."""
        follow.timer = None
        run = self._manager.live(follow.run_id) if follow.method == START_RUN else None
        if run is not None:
            run.stop(StopCause.DEADLINE)
        else:
            self._end(follow, DeadlineError())

    def _end(self, follow: LinkFollow, error: Exception) -> None:
        """End a follow with what was raised; the edge is told, unless it has ended it already."""
        batch, code = self.writer.refusal(follow, error)
        if not follow.is_over:
            self.writer.say(batch)
        follow.is_over = True
        self.spawn_close(self._close(follow, code))

    async def _close(self, follow: LinkFollow, code: str, *, by_itself: bool = False) -> None:
        """Free what a follow holds, and end its span. A repetition does nothing.

        Args:
            follow: The follow.
            code: The name of the gRPC code that the call would have ended with.
            by_itself: Whether the one behind the edge has left by itself.
        """
        if follow.is_closed:
            return
        follow.is_over = follow.is_closed = True
        if self._follows.get(follow.id) is follow:
            del self._follows[follow.id]
        if follow.queued:
            self.writer.skips()
        if follow.timer is not None:
            follow.timer.cancel()
        try:
            await follow.stop()
            if follow.follower is not None:
                follow.follower.client_left = by_itself
                await follow.follower.aclose()
        except Exception:
            logger.exception("a follow of run %s could not be closed", follow.run_id)
        finally:
            self._opener.close(follow)
            end_rpc_span(follow.span, code)
            if not self._follows:
                self.writer.wake()

    async def _cancel(self, cancel: link_pb2.LinkCancel) -> None:
        """Cancel a run. That it can't be is logged alone: the request has no answer."""
        span, code = _start_span(CANCEL_RUN, cancel.caller), "OK"
        try:
            principal = self._opener.principal_of(cancel.caller)
            require_run_id(cancel.run_id)
            await self._manager.cancel(cancel.run_id, principal)
        except asyncio.CancelledError:
            code = CANCELLED
            raise
        except Exception as error:  # noqa: BLE001 # logged, and nobody else is concerned
            refusal = self._parts.refusals.refusal_of(error, CANCEL_RUN, span)
            code = refusal.code
            self._parts.refusals.log(refusal, CANCEL_RUN, span)
        finally:
            end_rpc_span(span, code)

    def spawn_close(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let something be closed beside. Nobody cancels it."""
        task = asyncio.create_task(work)
        self._parts.closing.add(task)
        task.add_done_callback(self._parts.closing.discard)
        return task

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let something be done beside. The set keeps it though the link may be over before."""
        task = asyncio.create_task(work)
        self._under_way += 1
        self._parts.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way -= 1
        self._has_room.set()
        self._parts.tasks.discard(task)


def _start_span(method: str, caller: LinkCaller, *, streams_run: bool = False) -> trace.Span:
    """Return the span of the call that a request of a link stands for."""
    span = start_rpc_span(method, context_of(caller), streams_run=streams_run)
    span.set_attribute(TRANSPORT, "link")
    return span
