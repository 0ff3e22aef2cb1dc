"""The link to one core: one call that carries all runs which this edge reads from it.

One task reads: it hands each batch to the reader of its follow, in the turn in which it came. One task
writes what the edge asks. A follow itself needs neither task nor future. The core sends no more than the
credit of a follow allows; what a slow client leaves waits in the core's log.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from typing import Any, Final, NamedTuple, TypeAlias, cast

import grpc

from edge.errors import StreamBrokenError, UpstreamError
from edge.upstream.contract import Leave
from edge.upstream.link_follow import LOW_EVENTS, LinkFollow, Outgoing
from edge.upstream.source import ended_early
from edge.upstream.status import upstream_error
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.telemetry import monotonic_nano
from tokenwire.v1.link_pb2 import LinkBatch, LinkHeartbeat, LinkHello, LinkRequest, LinkResponse

HEARTBEAT_S: Final = 1.0
"""How often the core learns that the edge is alive, and the edge that the core is: it sends as many."""

SILENT_BEATS: Final = 10
"""After so many heartbeats without a message, while the core answers other calls, the link is given up."""

DOUBT_BEATS: Final = 5
"""After so many heartbeats without a message, while the core answers nothing else either, it is asked over
another connection: this one may be broken though it is open. As long as a lease of the core's stands; a core
that stands still for less is not even asked."""

MAX_CREDIT_BYTES: Final = 2**31
"""The most credit of a follow: a credit is an uint32, and must pay for what the last event took too much."""

PART_BYTES: Final = 128 * 1024
"""A larger message holds backlogs, of up to 1 MiB: dispatched at once, it would hold up the event loop for
tens of milliseconds."""

UNSAID_S: Final = 2.0
"""How long calls are used after a link failed without a reason before it was open."""

REFUSED_S: Final = 30.0
"""How long calls are used after a core has refused the link for another reason than that it has none."""

LinkCall: TypeAlias = "grpc.aio.StreamStreamCall[Any, Any]"

_parse: Final = LinkResponse.FromString
_HEARTBEAT: Final = LinkRequest(heartbeat=LinkHeartbeat())

logger = logging.getLogger(__name__)


class LinkPeer(NamedTuple):
    """The core of a link, as the link needs it."""

    target: str
    """Its HOST:PORT, for the log."""
    connect: Callable[[], LinkCall]
    """Starts the call."""
    answers: Callable[[], bool]
    """Tells whether it answered when it was last asked about itself."""
    doubt: Callable[[], None]
    """Called every few heartbeats while neither messages nor answers come: the connection may be broken."""
    drains: Callable[[], None]
    """Called when it says that it shuts down."""


class Link:
    """The link to one core. It is opened when it is needed, and again after it broke.

    Args:
        peer: The core.
        budget_bytes: How many bytes of events may wait for one client: also the credit of a follow.
    """

    def __init__(self, peer: LinkPeer, budget_bytes: int) -> None:
        self.budget_bytes = min(budget_bytes, MAX_CREDIT_BYTES)
        self.lag_nano = 0
        """For how long the core's event loop stood still, as all messages together have said."""
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._follows: dict[int, LinkFollow] = {}
        self._outgoing: deque[Outgoing] = deque()
        self._woken = asyncio.Event()
        self._last_id = 0
        self._call: LinkCall | None = None
        self._reading: asyncio.Task[None] | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._written = asyncio.Event()
        self.is_open = False
        """Whether the core has answered the hello, and the link has not broken since."""
        self._silent_beats = 0
        self._answered_beats = 0
        self._refused_until_s: float | None = None

    @property
    def is_usable(self) -> bool:
        """Whether runs go over it. If not, the core has refused it, and each takes a call of its own."""
        if self._refused_until_s is not None and self._loop.time() >= self._refused_until_s:
            self._refused_until_s = None
        return self._refused_until_s is None

    def retry(self) -> None:
        """Take note that another process answers at the core's address: it may have links."""
        self._refused_until_s = None

    def open(self) -> None:
        """Open it, unless it is open or about to be."""
        if self._reading is None and self.is_usable:
            # In a context of its own: the stream that happens to need it first is one of many.
            self._reading = self._loop.create_task(
                self._run(), name=f"link {self._peer.target}", context=Context()
            )

    def add(self, follow: LinkFollow, request: LinkRequest) -> None:
        """Begin a follow: asked for once the link is open.

        Args:
            follow: The follow.
            request: Asks for it.
        """
        self._follows[follow.id] = follow
        self.send(Outgoing(request, follow))
        self.open()

    def next_id(self) -> int:
        """Return the id of a new follow."""
        self._last_id += 1
        return self._last_id

    def forget(self, follow: LinkFollow) -> None:
        """Dispatch nothing more to a follow."""
        self._follows.pop(follow.id, None)

    def send(self, outgoing: Outgoing) -> None:
        """Have something written."""
        self._outgoing.append(outgoing)
        self._woken.set()

    async def aclose(self, timeout_s: float) -> None:
        """Close it.

        Args:
            timeout_s: How long what is still to be written may take, in seconds.
        """
        self._refused_until_s = math.inf
        reading = self._reading
        if reading is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                while self.is_open and self._outgoing:
                    self._written.clear()
                    await self._written.wait()
        except TimeoutError:
            logger.debug("link to %s: not all was written", self._peer.target)
        if self._call is not None:
            self._call.cancel()
        else:
            reading.cancel()  # It has not even begun.
        await asyncio.wait({reading})

    async def _run(self) -> None:
        """Open the link, serve it until it breaks, and say so to all follows."""
        call = self._call = self._peer.connect()
        writing = self._loop.create_task(self._write(call))
        self._silent_beats = self._answered_beats = 0
        self._beating = self._loop.call_later(HEARTBEAT_S, self._beat)
        failure, is_refusal = UpstreamError("UNAVAILABLE"), False
        read, eof, dispatch = call.read, grpc.aio.EOF, self._dispatch
        try:
            while (message := await read()) is not eof:
                encoded = cast(bytes, message)
                response = _parse(encoded)
                if len(encoded) <= PART_BYTES:
                    dispatch(response, response.batches, monotonic_nano())
                else:
                    await self._dispatch_in_parts(response)
            failure = ended_early()
        except grpc.aio.AioRpcError as error:
            failure = upstream_error(error)
            is_refusal = self._refuses(error.code(), failure)
        except asyncio.CancelledError:
            # Of the call: by the core, by `aclose`, or since it is silent. Nobody cancels this task.
            is_refusal = not self.is_usable
        except Exception:
            # What can't be read comes again with the next follow of its run: not for all of them, over calls.
            self._refused_until_s = self._loop.time() + REFUSED_S
            logger.exception("reading the link to %s failed", self._peer.target)
        finally:
            self._beating.cancel()
            call.cancel()
            writing.cancel()
            self._reading = self._call = None
            self._written.set()
            self._broke(failure, is_refusal=is_refusal)

    async def _dispatch_in_parts(self, response: LinkResponse) -> None:
        """Dispatch the backlogs of many streams, and let whatever else there is have its turns meanwhile."""
        recv_nano = monotonic_nano()
        rest = LinkResponse(clock=response.clock)
        rest.clock.loop_lag_nano = 0  # It is counted once.
        for part in _parts(response.batches):
            self._dispatch(response, part, recv_nano)
            response = rest
            await asyncio.sleep(0)

    def _dispatch(  # noqa: C901 # all in one, since every token passes here: credit is counted in passing
        self, response: LinkResponse, batches: Iterable[LinkBatch], recv_nano: int
    ) -> None:
        """Hand each batch of a message to the reader of its follow.

        Args:
            response: The message.
            batches: Those of its batches that are dispatched in this turn.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
        """
        self._silent_beats = self._answered_beats = 0
        if not self.is_open:
            self._opened()
        sent = response.clock
        lag_nano = sent.loop_lag_nano
        clock = SenderClock(sent.id, sent.send_nano, sent.send_unix_nano, lag_nano)
        total_nano = self.lag_nano = self.lag_nano + lag_nano
        follows, low_bytes = self._follows, self.budget_bytes // 2
        for batch in batches:
            follow = follows.get(batch.follow_id)
            if follow is None:
                continue  # It was unfollowed while this was under way.
            try:
                missed_nano = total_nano - follow.lag_nano
                follow.lag_nano = total_nano
                told = clock if missed_nano == lag_nano else clock._replace(loop_lag_nano=missed_nano)
                count, is_end = len(batch.events), batch.HasField("end")
                if count or not is_end:
                    if not follow.heard:
                        follow.first()
                    size_bytes = batch.event_bytes
                    follow.events_left -= count
                    follow.bytes_left -= size_bytes
                    if follow.owner.reader.feed(batch, told, recv_nano, size_bytes):
                        follow.owner.on_change()
                if is_end:
                    follow.end(batch.end)
                elif follow.events_left < LOW_EVENTS or follow.bytes_left < low_bytes:
                    follow.resume()
            except StreamBrokenError as error:
                follow.close(Leave.BROKEN)
                follow.owner.on_failed(error)
            except Exception as error:  # noqa: BLE001 # its owner logs it, and ends this one stream
                follow.owner.on_crashed(error)
        if response.HasField("draining"):
            self._peer.drains()

    def _opened(self) -> None:
        self.is_open = True
        self._woken.set()
        logger.debug("the link to %s is open", self._peer.target)

    async def _write(self, call: LinkCall) -> None:
        """Write what the edge asks, in order: nothing but the hello before the core has answered it."""
        try:
            await call.write(LinkRequest(hello=LinkHello(edge_id=f"{socket.gethostname()}:{os.getpid()}")))
            while True:
                await self._woken.wait()
                self._woken.clear()
                while self.is_open and self._outgoing:
                    await self._write_next(call)
                self._written.set()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            logger.debug("writing to the link failed, whose reader says why: %s", error)
        except Exception:
            logger.exception("writing to the link to %s failed", self._peer.target)
            call.cancel()  # Mute, it would take requests and ask nothing.

    async def _write_next(self, call: LinkCall) -> None:
        outgoing = self._outgoing[0]
        follow = outgoing.follow
        if follow is not None:
            if follow.id not in self._follows:
                self._outgoing.popleft()  # Closed before it was asked for.
                return
            follow.is_sent = True
        await call.write(outgoing.request)
        if self._outgoing and self._outgoing[0] is outgoing:  # The link may have broken meanwhile.
            self._outgoing.popleft()

    def _beat(self) -> None:
        """Tell the core that the edge is alive, and look whether the core is."""
        # In own beats: while the edge itself stood still, it has not listened either.
        self._silent_beats += 1
        if self._peer.answers():
            self._answered_beats += 1
        elif not self._silent_beats % DOUBT_BEATS:
            self._peer.doubt()
        if self._answered_beats >= SILENT_BEATS:
            logger.warning("the link to core %s is silent, though that answers: given up", self._peer.target)
            if not self.is_open:
                self._refused_until_s = self._loop.time() + REFUSED_S
            self.give_up()
            return
        if self.is_open and not self._outgoing:
            self.send(Outgoing(_HEARTBEAT))
        self._beating = self._loop.call_later(HEARTBEAT_S, self._beat)

    def give_up(self) -> None:
        """Have it break: its follows go on elsewhere, or over the next one."""
        if self._call is not None:
            self._call.cancel()

    def _refuses(self, code: grpc.StatusCode, failure: UpstreamError) -> bool:
        """Return whether the core has answered, and has no link for this edge."""
        if self.is_open:
            return False
        if code is grpc.StatusCode.UNIMPLEMENTED:
            logger.info("core %s has no link: each stream takes a call of its own", self._peer.target)
            self._refused_until_s = math.inf
            return True
        if code is grpc.StatusCode.INTERNAL:
            # A core that refuses at once may have ended the call before the hello is written. grpc.aio then
            # puts INTERNAL in the place of its status (grpc/grpc#36066). A call of its own tells the reason.
            self._refused_until_s = self._loop.time() + UNSAID_S
            return True
        if "reason" in failure.details or code is grpc.StatusCode.UNAUTHENTICATED:
            logger.warning("core %s refuses the link: %s", self._peer.target, failure)
            self._refused_until_s = self._loop.time() + REFUSED_S
            return True
        return False

    def _broke(self, failure: UpstreamError, *, is_refusal: bool) -> None:
        """Have all follows go on elsewhere, or over the next link."""
        self.is_open = False
        outgoing, self._outgoing = self._outgoing, deque()
        follows, self._follows = self._follows, {}
        logger.debug("the link to %s broke with %d follows: %s", self._peer.target, len(follows), failure)
        for unsent in outgoing:
            if unsent.otherwise is not None:
                unsent.otherwise()
        for follow in follows.values():
            try:
                follow.broke(failure, is_refusal=is_refusal)
            except Exception as error:  # noqa: BLE001 # as in `_dispatch`
                follow.owner.on_crashed(error)


def _parts(batches: Iterable[LinkBatch]) -> Iterator[list[LinkBatch]]:
    """Yield the batches of a large message in parts."""
    part: list[LinkBatch] = []
    size_bytes = 0
    for batch in batches:
        part.append(batch)
        size_bytes += batch.event_bytes
        if size_bytes >= PART_BYTES:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part
