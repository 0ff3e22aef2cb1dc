"""The cores that an edge knows: how each stands, and which is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from edge.errors import CORE_AWAY, EdgeError, UpstreamError
from edge.upstream.connection import CoreSecurity
from edge.upstream.core import Core
from edge.upstream.member import LinkSettings, Member
from edge.upstream.placement import for_run, for_start, is_lost_with_process, is_ready, is_shared
from edge.upstream.tasks import BackgroundTasks
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.reasons import Reason

FOLLOW_SILENCE_S: Final = 5.0
"""How long a core must have been silent before its follows go on at another one: as long as its lease stands.
Sooner there would be nothing new to hear of its runs; and moving all streams of a core is dear."""

ELSEWHERE: Final = frozenset({"NOT_FOUND", "DATA_LOSS"})
"""What a core says of a run that another one may have."""

Answer = TypeVar("Answer")


def not_answering() -> UpstreamError:
    """Return what is said of a core that was given up since it hangs."""
    return UpstreamError("UNAVAILABLE", details={"reason": Reason.CORE_NOT_ANSWERING})


def is_of_transport(error: EdgeError) -> bool:
    """Return whether a failure says that a core is away, rather than what the core itself says."""
    return error.details.get("reason", Reason.CORE_NOT_ANSWERING) == Reason.CORE_NOT_ANSWERING


async def require_alive(member: Member, error: EdgeError) -> None:
    """Return unless it is proven that the runs of a core were lost with its process.

    Args:
        member: The core.
        error: What has failed at it.

    Raises:
        UpstreamError: It is.
    """
    if is_lost_with_process(member) and error.code == "UNAVAILABLE" and await member.is_gone():
        raise UpstreamError("UNAVAILABLE", details={"reason": Reason.CORE_LOST}) from error


class Cores:
    """All of them. Made inside the event loop that uses them.

    Args:
        targets: HOST:PORT of each.
        security: How they are spoken to.
        clocks: Learns how far the clocks of cores on other machines are apart from ours.
        link: How runs are carried.
    """

    def __init__(
        self, targets: Sequence[str], security: CoreSecurity, clocks: ClockBook, link: LinkSettings
    ) -> None:
        self.members = [Member(Core(target, security, clocks), link) for target in targets]
        """The cores, in the order in which they were named."""
        self.tasks = BackgroundTasks()
        """Open and recover streams."""

    def start(self) -> None:
        """Begin to ask them how they stand."""
        for member in self.members:
            member.start()

    async def aclose(self) -> None:
        """Close the way to each."""
        await self.tasks.aclose()
        for member in self.members:
            await member.aclose()
        await self.tasks.aclose()  # of those that lost their source by that

    async def ready(self) -> bool:
        """Return whether one of them starts runs now: they are asked."""
        return await self._ask_until(is_ready)

    @property
    def are_known(self) -> bool:
        """Whether one of several has told how it stands: else it is not known which one to ask first."""
        return len(self.members) == 1 or any(member.status is not None for member in self.members)

    async def learn(self) -> None:
        """Return once one of several has told how it stands, or all were asked."""
        if not self.are_known:
            await self._ask_until(lambda member: member.status is not None)

    def for_start(self, session: str) -> list[Member]:
        """Return them in the order in which a run is to be started at them.

        Args:
            session: Names the session, with its owner.
        """
        return for_start(self.members, session)

    def for_run(self, run_id: str) -> list[Member]:
        """Return them in the order in which they are to be asked for a run."""
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
