"""What a store is given to write, what it answers, and how that is awaited."""

from __future__ import annotations

import asyncio
import enum
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from agent_core.log.records import Exchange, Outcome


class AppendStatus(enum.Enum):
    """What a store says to an append."""

    OK = "ok"
    """The log holds the events."""
    FENCED = "fenced"
    """Another core writes this run now: stop its agent, write nothing more."""
    GAP = "gap"
    """Events before these are missing: append again from `expected` on."""
    CLOSED = "closed"
    """The run has its terminal event."""
    GONE = "gone"
    """The store does not know the run."""


class Appended(NamedTuple):
    """The answer to an append."""

    status: AppendStatus
    expected: int = 0
    """The next number that the log wants. Told with GAP."""


class End(NamedTuple):
    """How a run's log is closed."""

    outcome: Outcome
    """Which terminal event is the last of its events."""
    exchange: Exchange | None = None
    """What its session is to remember of it, where it belongs to one; None for nothing."""


class Append(NamedTuple):
    """Events of one run that a store is to write, all or none."""

    run_id: str
    epoch: int
    """The writer's generation."""
    first: int
    """The number of the first of these events; the others follow without holes."""
    payloads: Sequence[bytes]
    """From `agent_core.log.encoding.encode_payload`. With an `end` the last one is the terminal event."""
    end: End | None = None
    """How the log is closed with them; None where the run goes on."""


OnAnswer: TypeAlias = Callable[[Appended | Exception], None]
"""What is told of an append: LogAwayError, or a bug, where there is no answer."""


class AwaitableAppends:
    """Gives a store `append` and `close`, made from its `submit`. For all but the writer of a run."""

    @abstractmethod
    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run, as RunLog has it."""

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of events that were submitted alone."""
        return await self._answer(Append(run_id, epoch, first, payloads))

    async def close(
        self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes], end: End
    ) -> Appended:
        """Return what became of a run's last events and its end."""
        return await self._answer(Append(run_id, epoch, first, payloads, end))

    async def _answer(self, append: Append) -> Appended:
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()

        def on_answer(appended: Appended | Exception) -> None:
            if answer.done():
                return  # The one who asked was cancelled.
            if isinstance(appended, Exception):
                answer.set_exception(appended)
            else:
                answer.set_result(appended)

        self.submit(append, on_answer)
        return await answer
