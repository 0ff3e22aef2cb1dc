"""One of the cores: how it stands, and what reads runs from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge.errors import EdgeError
from edge.telemetry.client_span import Attempt
from edge.upstream.call import CallSource
from edge.upstream.contract import Caller
from edge.upstream.core import Core
from edge.upstream.source import Source, SourceOwner
from edge.upstream.tasks import BackgroundTasks
from tokenwire.outage import Outage
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2

ASK_EVERY_S: Final = 1.0
"""How often each core is asked how it stands."""

ASK_TIMEOUT_S: Final = 2.0
"""How long it may take to answer that."""

PROOF_TIMEOUT_S: Final = 0.5
"""How long a connection may take that is to tell whether a core's process is gone."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long those who read calls may take to learn that the channel is closed."""

logger = logging.getLogger(__name__)


class Member:
    """One of the cores, and what is known of it."""

    def __init__(self, core: Core) -> None:
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
        self._proof: asyncio.Future[bool] | None = None
        self._reading = BackgroundTasks()

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
        span, carrier = self.core.stream_span("FollowRun", caller, "call", attempt)
        metadata = self.core.metadata(carrier, caller.principal)
        call = self.core.follow_run(owner.reader.run_id, owner.reader.cursor, metadata)
        return self._read(CallSource(call, span, owner))

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
        for task in (self._watching, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if self._proof is not None:
            self._proof.cancel()
        await self.core.close()
        await self._reading.aclose(CLOSE_TIMEOUT_S)

    def _read(self, source: CallSource) -> Source:
        self._reading.spawn(source.read(), f"read {self.target}")
        return source

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
        self.status, self._answered_s = status, self._loop.time()
        self._outage.end(f"{self._interrupted} streams were interrupted, {self._failed} of them failed")
        self._interrupted = self._failed = 0
