"""The stream of a run that has yet to be started: each core is asked once, until one has begun it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from edge.errors import EdgeError
from edge.upstream.contract import Caller
from edge.upstream.cores import Cores, is_of_transport
from edge.upstream.departures import Departures
from edge.upstream.member import Member
from edge.upstream.placement import is_shared
from edge.upstream.reader import RunReader
from edge.upstream.retry_policy import passes
from edge.upstream.run_call import FollowCall
from edge.upstream.source import Source
from tokenwire.cursor import START
from tokenwire.principal import owned_key
from tokenwire.reasons import Reason
from tokenwire.v1 import run_pb2

START_SILENCE_S: Final = 8.0
"""How long a start waits at a core that does not answer, where it can't go on elsewhere."""

logger = logging.getLogger(__name__)


class StartCall(FollowCall):
    """Starts a run, reads it to its end, and tells a sink.

    Args:
        cores: The cores.
        departures: Tells cores that the client has left, where the source can't.
        caller: On whose behalf.
        run: What to run. Its request_id makes it safe to ask twice where the cores share their runs.
    """

    __slots__ = ("_run", "_timeout", "_untried")

    def __init__(self, cores: Cores, departures: Departures, caller: Caller, run: run_pb2.RunSpec) -> None:
        super().__init__(cores, departures, caller, RunReader("", START))
        self._run: run_pb2.RunSpec | None = run
        self._untried: list[Member] | None = None
        self._timeout: StartTimeout | None = StartTimeout(cores)

    def on_first(self) -> None:
        """Learn that the run has begun: what started it is no longer needed, and may be large."""
        self._run = self._untried = self._timeout = None
        super().on_first()

    def _gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer."""
        return super()._gives_up(member) if self._timeout is None else self._timeout.gives_up(member)

    def _next_member(self) -> Member:
        """Return the core that is asked next: until the run has begun, each once."""
        if self._run is None:
            return super()._next_member()
        if self._untried is None:
            self._untried = self._cores.for_start(session_of(self._run, self._caller))
        return self._untried.pop(0)

    def _source_at(self, member: Member) -> Source:
        """Return what starts the run, or goes on with it."""
        if self._run is None:
            return super()._source_at(member)
        return member.start_run(self, self._caller, self._run)

    async def _failed(self, error: EdgeError) -> None:
        """Return when the next core is to be asked."""
        if self._run is None:
            await super()._failed(error)
            return
        member = self._member
        assert member is not None  # noqa: S101 # it has failed
        if is_of_transport(error):
            member.suspect(error)
        if not self._untried or not await starts_elsewhere(member, error):
            raise error
        logger.debug("a run is started at another core than %s: %s", member.target, error)


class StartTimeout:
    """How long one start waits for cores that do not answer `GetCore`. One that answers may be slow.

    Args:
        cores: The cores.
    """

    __slots__ = ("_began_s", "_cores", "_loop")

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    def gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer.

        Not at all where another one can take the start: the request's id makes it safe to ask twice.
        """
        waited_s = min(self._loop.time() - self._began_s, member.silent_s)
        return waited_s >= START_SILENCE_S or self._cores.can_replace(member)


async def starts_elsewhere(member: Member, error: EdgeError) -> bool:
    """Return whether a run that could not be started at one core may be started at another one.

    It may not where the first one could have started it unheard, and would not know of the second time.

    Args:
        member: The core that was asked.
        error: What it said.
    """
    if error.details.get("reason") == Reason.CORE_DRAINING:
        return True
    if error.code != "UNAVAILABLE" or not passes(error):
        return False
    return is_shared(member) or await member.is_gone()


def session_of(run: run_pb2.RunSpec, caller: Caller) -> str:
    """Return what names a run's session, with its owner."""
    return owned_key(caller.principal, run.session_id)
