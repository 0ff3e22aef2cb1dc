"""One of the cores: how it stands, and what reads runs from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from edge.errors import EdgeError
from edge.telemetry.client_span import Attempt
from edge.upstream.call import CallSource
from edge.upstream.contract import Caller
from edge.upstream.core import Core
from edge.upstream.link import Link, LinkPeer
from edge.upstream.link_follow import LinkFollow
from edge.upstream.source import Source, SourceOwner
from edge.upstream.tasks import BackgroundTasks
from tokenwire.outage import Outage
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2
from tokenwire.v1.link_pb2 import LinkFollow as LinkFollowRequest
from tokenwire.v1.link_pb2 import LinkRequest, LinkStart

ASK_EVERY_S: Final = 1.0
"""How often each core is asked how it stands."""

ASK_TIMEOUT_S: Final = 2.0
"""How long it may take to answer that."""

PROOF_TIMEOUT_S: Final = 0.5
"""How long a connection may take that is to tell whether a core's process is gone."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long those who read calls may take to learn that the channel is closed."""

MAX_LINK_START_BYTES: Final = 256 * 1024
"""A larger run is started by a call: a message that the core takes for too large would break the link."""

logger = logging.getLogger(__name__)


class LinkSettings(NamedTuple):
    """How runs are carried from the cores."""

    enabled: bool = True
    """Whether over one link for each core that has links. Else each by a call of its own."""
    budget_bytes: int = 256 * 1024
    """How many bytes of events may wait for one client: the core sends no more ahead over a link."""


class Member:
    """One of the cores, and what is known of it.

    Args:
        core: The way to it.
        link: How runs are carried.
    """

    def __init__(self, core: Core, link: LinkSettings) -> None:
        self.core = core
        """The way to it."""
        self.status: pb.Core | None = None
        """What it has last told of itself; None before the first time."""
        self.answers = False
        """Whether it answered when it was last asked."""
        self.streams = 0
        """How many streams are read from it."""
        self._loop = asyncio.get_running_loop()
        self._answered_s = self._loop.time()
        self._watchers: set[Callable[[], None]] = set()
        self._interrupted = 0
        self._failed = 0
        self._outage = Outage(
            logger,
            away=f"core {self.target} does not answer",
            back=f"core {self.target} answers again",
        )
        self._asking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._doubting: asyncio.Task[None] | None = None
        self._proof: asyncio.Future[bool] | None = None
        self._reading = BackgroundTasks()
        self._link: Link | None = None
        if link.enabled:
            peer = LinkPeer(self.target, core.open_link, lambda: self.answers, self.doubt, self.drains)
            self._link = Link(peer, link.budget_bytes)

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return self.core.target

    def start(self) -> None:
        """Begin to ask it how it stands."""
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.target}")

    def suspect(self, error: EdgeError) -> None:
        """Take note that it did not answer a call: it is not asked for others before it answers again.

        Args:
            error: What became of the call.
        """
        self.answers = False
        self._outage.begin(f"a call to it failed with {error.code}")

    @property
    def silent_s(self) -> float:
        """How long it has not answered, in seconds; 0 where it did when it was last asked."""
        return 0.0 if self.answers else self._loop.time() - self._answered_s

    def watch(self, on_silence: Callable[[], None]) -> None:
        """Have something called each time the core does not answer.

        Args:
            on_silence: Called in the event loop, until `unwatch`.
        """
        self._watchers.add(on_silence)

    def unwatch(self, on_silence: Callable[[], None]) -> None:
        """Have it called no longer."""
        self._watchers.discard(on_silence)

    def interrupted(self) -> None:
        """Count a stream that broke off since the core is away."""
        self._interrupted += 1

    def failed(self) -> None:
        """Count a stream that ended for its client since the core is away."""
        self._failed += 1

    def doubt(self) -> None:
        """Find out whether it is away, or only its connection: a new one takes the place of that.

        A connection may be lost though it is open: a proxy, or the kernel of a machine that was moved, takes
        what is sent and passes nothing on. Of a core that stands still the connection stays as it is.
        """
        if self._doubting is None:
            self._doubting = asyncio.create_task(self._reconnect(), name=f"doubt {self.target}")

    async def _reconnect(self) -> None:
        try:
            status = await self.core.replace_connection(ASK_TIMEOUT_S)
            if status is not None:
                text = (
                    "core %s answers over a new connection, and no longer over the old one: that is given up"
                )
                logger.warning(text, self.target)
                self._meet(status)
                self.answers = True
                if self._link is not None:
                    self._link.give_up()
        except Exception:
            logger.exception("connecting to core %s again failed: this is a bug of the edge", self.target)
        finally:
            self._doubting = None

    def drains(self) -> None:
        """Take note that it is going down, before it is asked again."""
        if self.status is not None:
            self.status.draining, self.status.ready = True, False

    async def ask(self) -> None:
        """Return when it is known how the core stands. Those who ask at the same time share the answer."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"ask {self.target}")
        await asyncio.shield(self._asking)

    def start_run(self, owner: SourceOwner, caller: Caller, run: run_pb2.RunSpec) -> Source:
        """Return what starts a run at it and feeds its owner's reader.

        Args:
            owner: Owns the source.
            caller: On whose behalf.
            run: What to run.
        """
        link = self._usable_link()
        if link is not None and run.ByteSize() <= MAX_LINK_START_BYTES:
            span, carrier = self.core.stream_span("StreamRun", caller, "link")
            follow = LinkFollow(link, span, owner, is_start=True)
            start = LinkStart(follow_id=follow.id, run=run, credit=follow.first_credit())
            start.caller.CopyFrom(self.core.link_caller(carrier, caller.principal))
            link.add(follow, LinkRequest(start=start))
            return follow
        span, carrier = self.core.stream_span("StreamRun", caller, "call")
        call = self.core.stream_run(run, self.core.metadata(carrier, caller.principal))
        return self._read(CallSource(call, span, owner))

    def follow_run(self, owner: SourceOwner, caller: Caller, attempt: Attempt) -> Source:
        """Return what follows a run at it and feeds its owner's reader.

        Args:
            owner: Owns the source. Its reader says what is missing.
            caller: On whose behalf.
            attempt: Whether it is one of several of a reconnect.
        """
        run_id, after = owner.reader.run_id, owner.reader.cursor
        link = self._usable_link()
        if link is not None:
            span, carrier = self.core.stream_span("FollowRun", caller, "link", attempt)
            follow = LinkFollow(link, span, owner, is_start=False)
            request = LinkFollowRequest(follow_id=follow.id, run_id=run_id, credit=follow.first_credit())
            request.after.epoch, request.after.sequence = after
            request.caller.CopyFrom(self.core.link_caller(carrier, caller.principal))
            link.add(follow, LinkRequest(follow=request))
            return follow
        span, carrier = self.core.stream_span("FollowRun", caller, "call", attempt)
        call = self.core.follow_run(run_id, after, self.core.metadata(carrier, caller.principal))
        return self._read(CallSource(call, span, owner))

    def _usable_link(self) -> Link | None:
        """Return the link; None where the core has none, or it is not to be used."""
        if self._link is None or not self._link.is_usable:
            return None
        return self._link if self.status is None or self.status.link else None

    @property
    def is_linked(self) -> bool:
        """Whether its link is open."""
        return self._link is not None and self._link.is_open

    async def is_gone(self) -> bool:
        """Return whether it is proven that its process is gone.

        Those who ask at the same time share the proof: a core that is lost has many streams.
        """
        if self._proof is None:
            self._proof = asyncio.ensure_future(self.core.refuses_connections(PROOF_TIMEOUT_S))
            self._proof.add_done_callback(self._proven)
        return await asyncio.shield(self._proof)

    async def aclose(self) -> None:
        """Close the way to it."""
        for task in (self._watching, self._asking, self._doubting):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if self._proof is not None:
            self._proof.cancel()
            await asyncio.wait({self._proof})
        if self._link is not None:
            await self._link.aclose(CLOSE_TIMEOUT_S)
        await self.core.close()
        await self._reading.aclose(CLOSE_TIMEOUT_S)

    def _read(self, source: CallSource) -> Source:
        self._reading.spawn(source.read(), f"read {self.target}")
        return source

    def _meet(self, status: pb.Core) -> None:
        """Take note of how it stands, and open the link where there is none."""
        before, self.status, self._answered_s = self.status, status, self._loop.time()
        if self._link is None or not status.link:
            return
        if before is None or before.incarnation != status.incarnation:
            self._link.retry()
        if not status.draining:  # Such a core ends a link that nobody needs.
            self._link.open()

    def _proven(self, _: asyncio.Future[bool]) -> None:
        self._proof = None

    async def _watch(self) -> None:
        while True:
            try:
                await self.ask()
            except Exception:
                logger.exception("asking core %s failed: this is a bug of the edge", self.target)
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self) -> None:
        try:
            status = await self.core.describe(ASK_TIMEOUT_S)
        finally:
            self._asking = None
        self.answers = status is not None
        if status is None:
            self._outage.begin("" if self.status else "check that it runs, and TOKENWIRE_CORE")
            for on_silence in tuple(self._watchers):
                on_silence()
            return
        if self.status is None:
            logger.info("core %s answers", self.target)
        self._meet(status)
        self._outage.end(f"{self._interrupted} streams were interrupted, {self._failed} of them failed")
        self._interrupted = self._failed = 0
