"""The calls of the scripts: which keys, which arguments, in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from agent_core.log.budget import LogBudget, ring_target
from agent_core.log.encoding import NANO
from agent_core.log.position import Position
from agent_core.log.records import Exchange, Outcome, RunRecord, exchange_bytes
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.records import (
    CLOSED,
    encode_exchange,
    gone_hint,
    meta_fields,
    place_of,
)

Argument: TypeAlias = str | bytes | int

OPEN_TTL_MS: Final = 7 * 24 * 3600 * 1000
"""How long a run that nobody closes is kept after its last event: no run takes so long, and cores close
what they find orphaned, so only a store that no core ever comes back to has any use of it."""

REFILL_TTL_MS: Final = 60_000
"""How long events are kept that a restoration has written before it was given up."""

STEPS: Final = 4096
"""In how many steps a principal's share is counted: most appends cross none, and count nothing."""

_MILLI: Final = 1_000


class Call(NamedTuple):
    """One script and what it is given."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class Ending(NamedTuple):
    """How and when a run is closed."""

    outcome: Outcome
    unix_nano: int
    exchange: Exchange | None = None


class Reaping(NamedTuple):
    """What a reaper expects."""

    last: int
    """The number of the log's last event."""
    writer_must_be_gone: bool


class Calls:
    """Makes the calls of one store.

    Args:
        keys: The names of its keys.
        budget: How much it keeps, and how long.
    """

    def __init__(self, keys: Keys, budget: LogBudget) -> None:
        self._keys = keys
        self._budget = budget
        self._limits = (
            *(budget.run_events, budget.run_bytes),
            *(ring_target(budget.run_events), ring_target(budget.run_bytes)),
        )
        self._retention_ms = int(budget.retention_s * _MILLI)
        self._owner_ttl_ms = owner_ttl_ms(budget)
        self._step = owner_step(budget)

    def create(self, record: RunRecord, unix_nano: int) -> Call:
        """Return the call that creates a run."""
        budget, message_bytes = self._budget, len(record.message.encode())
        keys = (self._keys.meta(record.run_id), self._keys.log(record.run_id))
        return Call(
            "create",
            (*keys, *self._keys.of_record(record), self._keys.owner(record.owner)),
            (
                *(record.run_id, unix_nano, self._keys.prefix, OPEN_TTL_MS, *_created(record)),
                *(budget.principal_bytes, budget.floor_bytes, self._owner_ttl_ms, message_bytes),
                *meta_fields(record),
            ),
        )

    def append(  # noqa: PLR0913 # an append, an end and a reaper's in one script
        self,
        record: RunRecord,
        epoch: int,
        first: int,
        events: Sequence[bytes],
        *,
        ending: Ending | None = None,
        reaping: Reaping | None = None,
    ) -> Call:
        """Return the call that appends sealed events.

        Args:
            record: The run.
            epoch: The writer's generation; a reaper writes in the next one.
            first: The number of the first event.
            events: Sealed with their numbers and their epoch.
            ending: How the run is closed with them; None when it goes on.
            reaping: What a reaper expects; None for a writer.
        """
        keys = self._keys
        open_runs, core_runs, request, live, session_runs = keys.of_record(record)
        said = keys.session_said(record.owner, record.session_id)
        flags = CLOSED if ending else 0
        return Call(
            "append",
            (
                *(keys.meta(record.run_id), keys.log(record.run_id)),
                *(open_runs, core_runs, request, live, said, keys.lease(record.core), session_runs),
                keys.owner(record.owner),
            ),
            (
                *(record.run_id, epoch, first, keys.channel(record.run_id), flags, OPEN_TTL_MS),
                *self._limits,
                *self._ending(ending),
                *self._exchange(ending),
                *_reaping(epoch + bool(reaping), reaping),
                *(self._budget.principal_bytes, self._step, self._owner_ttl_ms, keys.prefix),
                *events,
            ),
        )

    def refill(self, run_id: str, epoch: int, first: int, number: int, events: Sequence[bytes]) -> Call:
        """Return the call that puts lost events into a run's stream; `restore` then says that they are there.

        Args:
            run_id: The run.
            epoch: The writer's generation.
            first: The number of the first of all lost events.
            number: The number of the first of these.
            events: Sealed with their numbers and their epoch.
        """
        keys = (self._keys.meta(run_id), self._keys.log(run_id))
        return Call("refill", keys, (epoch, first, number, REFILL_TTL_MS, *events))

    def restore(
        self, record: RunRecord, epoch: int, first: int, *, refilled: int = 0, refilled_bytes: int = 0
    ) -> Call:
        """Return the call that makes room for events that were lost.

        Args:
            record: The run.
            epoch: The writer's generation.
            first: The number of the first lost event.
            refilled: How many of them the stream holds already.
            refilled_bytes: Their bytes.
        """
        return Call(
            "restore",
            (
                *(self._keys.meta(record.run_id), self._keys.log(record.run_id)),
                *self._keys.of_record(record),
            ),
            (
                *(record.run_id, epoch, first, OPEN_TTL_MS, *_created(record)),
                *(refilled, refilled_bytes, *meta_fields(record)),
            ),
        )

    def read(
        self, run_id: str, after: Position, max_events: int, max_bytes: int, *, follow: bool = False
    ) -> Call:
        """Return the call that reads events.

        Args:
            run_id: The run.
            after: The last event that the reader has.
            max_events: The most events to return.
            max_bytes: The most bytes of events to return.
            follow: Whether the reader has subscribed to the run's channel: appends are published then.
        """
        keys = (self._keys.meta(run_id), self._keys.log(run_id))
        return Call("read", keys, (after.sequence, max_events, max_bytes, int(follow)))

    def delete(self, record: RunRecord) -> Call:
        """Return the call that forgets a run."""
        keys = (self._keys.meta(record.run_id), self._keys.log(record.run_id))
        place = place_of(record.create_unix_nano, record.run_id)
        return Call(
            "delete",
            (*keys, *self._keys.of_record(record), self._keys.owner(record.owner)),
            (record.run_id, place, self._keys.channel(record.run_id), gone_hint()),
        )

    def _ending(self, ending: Ending | None) -> tuple[Argument, ...]:
        """Return how and when the run ends."""
        if ending is None:
            return ("", "", 0, 0, 0)
        expire = ending.unix_nano + int(self._budget.retention_s * NANO)
        return (ending.outcome.event, ending.outcome.reason, ending.unix_nano, expire, self._retention_ms)

    def _exchange(self, ending: Ending | None) -> tuple[Argument, ...]:
        """Return what the session is to remember."""
        budget = self._budget
        exchange = ending.exchange if ending is not None else None
        size = exchange_bytes(exchange) if exchange is not None else 0
        if ending is None or exchange is None or size > budget.session_bytes or not budget.session_exchanges:
            return ("", 0, 0, 0, 0, 0)
        retention_s = budget.session_retention_s
        return (
            *(encode_exchange(exchange), size, budget.session_exchanges, budget.session_bytes),
            *(ending.unix_nano + int(retention_s * NANO), int(retention_s * _MILLI)),
        )


def owner_ttl_ms(budget: LogBudget) -> int:
    """Return how long what is counted for an owner is kept: longer than anything that it counts."""
    return OPEN_TTL_MS + int(budget.retention_s * _MILLI) + int(budget.session_retention_s * _MILLI)


def owner_step(budget: LogBudget) -> int:
    """Return in which steps of bytes an owner's share is counted."""
    return max(1, budget.principal_bytes // STEPS)


def _reaping(epoch: int, reaping: Reaping | None) -> tuple[Argument, ...]:
    """Return the events' epoch, and what a reaper expects."""
    if reaping is None:
        return (epoch, "", 0)
    return (epoch, reaping.last, int(reaping.writer_must_be_gone))


def _created(record: RunRecord) -> tuple[Argument, ...]:
    """Return what a run's creation and its restoration say of it, besides its fields."""
    place = place_of(record.create_unix_nano, record.run_id)
    return (record.request_key, record.session_id, place)
