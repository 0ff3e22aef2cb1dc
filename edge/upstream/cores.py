"""The cores that an edge knows: how each stands, and which is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from edge.errors import CORE_AWAY, EdgeError, UpstreamError
from edge.upstream.core import Core, CoreSecurity
from edge.upstream.placement import for_run, for_start, is_ready, is_shared
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.outage import Outage
from tokenwire.v1 import agent_service_pb2 as pb

ASK_EVERY_S: Final = 1.0
"""How often each core is asked how it stands."""

ASK_TIMEOUT_S: Final = 2.0
"""How long it may take to answer that."""

FOLLOW_SILENCE_S: Final = 5.0
"""How long a core must have been silent before its follows go on at another one: as long as its lease stands.
Sooner there would be nothing new to hear of its runs; and moving all streams of a core is dear."""

START_SILENCE_S: Final = 8.0
"""How long a start waits at a core that does not answer, where it can't go on elsewhere."""

NOT_ANSWERING: Final = "CORE_NOT_ANSWERING"
"""The reason of failures whose core hangs: its port is there, and it says nothing."""

ELSEWHERE: Final = frozenset({"NOT_FOUND", "DATA_LOSS"})
"""What a core says of a run that another one may have."""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Member:
    """One of the cores, and what is known of it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        """The way to it."""
        self.told: pb.Core | None = None
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
        if self.told is not None:
            self.told.draining, self.told.ready = True, False

    async def ask(self) -> None:
        """Return when it is known how the core stands. Those who ask at the same time share the answer."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"ask {self.target}")
        await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """Close the way to it."""
        for task in (self._watching, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self.core.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self.ask()
            except Exception:
                logger.exception("asking core %s failed: this is a bug of the edge", self.target)
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self) -> None:
        try:
            told = await self.core.describe(ASK_TIMEOUT_S)
        finally:
            self._asking = None
        self.answers = told is not None
        if told is None:
            self._outage.begin("" if self.told else "check that it runs, and TOKENWIRE_CORE")
            for on_silence in tuple(self._watchers):
                on_silence()
            return
        if self.told is None:
            logger.info("core %s answers", self.target)
        self.told, self._answered_s = told, self._loop.time()
        self._outage.end(f"{self._interrupted} streams were interrupted, {self._failed} of them failed")
        self._interrupted = self._failed = 0


def not_answering() -> UpstreamError:
    """Return what is said of a core that was given up since it hangs."""
    return UpstreamError("UNAVAILABLE", details={"reason": NOT_ANSWERING})


def is_of_transport(error: EdgeError) -> bool:
    """Return whether a failure says that a core is away, rather than what the core itself says."""
    return error.details.get("reason", NOT_ANSWERING) == NOT_ANSWERING


class Cores:
    """All of them. Made inside the event loop that uses them.

    Args:
        targets: HOST:PORT of each.
        security: How they are spoken to.
        clocks: Learns how far the clocks of cores on other machines are apart from ours.
    """

    def __init__(self, targets: Sequence[str], security: CoreSecurity, clocks: ClockBook) -> None:
        self.members = [Member(Core(target, security, clocks)) for target in targets]
        """The cores, in the order in which they were named."""

    def start(self) -> None:
        """Begin to ask them how they stand."""
        for member in self.members:
            member.start()

    async def aclose(self) -> None:
        """Close the way to each."""
        for member in self.members:
            await member.aclose()

    async def ready(self) -> bool:
        """Return whether one of them starts runs now: they are asked."""
        return await self._ask_until(is_ready)

    async def for_start(self, session: str) -> list[Member]:
        """Return them in the order in which a run is to be started at them.

        Args:
            session: Names the session, with its owner.
        """
        await self._know_one()
        return for_start(self.members, session)

    async def for_run(self, run_id: str) -> list[Member]:
        """Return them in the order in which they are to be asked for a run."""
        await self._know_one()
        return for_run(self.members, run_id)

    def can_replace(self, member: Member) -> bool:
        """Return whether another core can do now what one does that hangs."""
        others = (other for other in self.members if other is not member)
        return is_shared(member) and any(map(is_ready, others))

    @asynccontextmanager
    async def unless_silent(self, member: Member, gives_up: Callable[[], bool]) -> AsyncIterator[None]:
        """Let a core be asked something, and give it up when it hangs.

        Args:
            member: The core.
            gives_up: Asked each time it does not answer `GetCore`: whether to wait for it no longer.

        Raises:
            UpstreamError: It was given up.
        """
        limit = asyncio.timeout(None)

        def on_silence() -> None:
            if not limit.expired() and gives_up():
                limit.reschedule(0)

        try:
            async with limit:
                member.watch(on_silence)
                try:
                    yield
                finally:
                    member.unwatch(on_silence)
        except TimeoutError as error:
            raise not_answering() from error

    async def ask_each(self, members: Sequence[Member], ask: Callable[[Core], Awaitable[Answer]]) -> Answer:
        """Return the first core's answer that is one, of those that may have the run.

        Args:
            members: In the order in which they are asked.
            ask: Asks one.

        Raises:
            UpstreamError: What they say instead: that one can't be reached counts before that others
                do not have the run.
        """
        failure: UpstreamError | None = None
        for member in members:
            try:
                async with self.unless_silent(member, partial(self.can_replace, member)):
                    return await ask(member.core)
            except UpstreamError as error:
                if error.code in CORE_AWAY:
                    # Another one may answer; whatever is asked of several may be asked twice.
                    if is_of_transport(error):
                        member.suspect(error)
                    failure = error
                elif error.code in ELSEWHERE and not is_shared(member):
                    failure = failure or error
                else:
                    raise
        assert failure is not None  # noqa: S101 # there is one core at least
        raise failure

    async def _know_one(self) -> None:
        """Return once one of several cores has told how it stands, or all were asked."""
        if len(self.members) > 1 and all(member.told is None for member in self.members):
            await self._ask_until(lambda member: member.told is not None)

    async def _ask_until(self, enough: Callable[[Member], bool]) -> bool:
        """Return once what one of them tells is enough, or all were asked: one that hangs keeps nobody."""
        asking = {asyncio.ensure_future(member.ask()): member for member in self.members}
        try:
            while asking:
                asked, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                members = [asking.pop(task) for task in asked]
                if any(member.answers and enough(member) for member in members):
                    return True
        finally:
            for task in asking:
                task.cancel()  # The question itself is shielded.
        return False
