"""Writes again what Redis has lost of a run, in parts; it can be read when all of it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from agent_core.log.append import Appended, AppendStatus
from agent_core.log.errors import LogAwayError
from agent_core.log.records import RunRecord
from agent_core.log.redis.calls import Calls
from agent_core.log.redis.committer import Committer
from agent_core.log.redis.records import appended_of

PART_EVENTS: Final = 1_000
PART_BYTES: Final = 512 * 1024
"""How much one script writes: Redis does nothing else for about 3 ms then."""

_LOST: Final = frozenset({AppendStatus.GAP, AppendStatus.GONE})


async def write_again(  # noqa: PLR0913 # a run, and what is lost of it
    committer: Committer,
    calls: Calls,
    record: RunRecord,
    *,
    epoch: int,
    first: int,
    events: Sequence[bytes],
) -> Appended:
    """Return what became of lost events.

    Args:
        committer: Runs the scripts.
        calls: Makes their arguments.
        record: As the run was created.
        epoch: The writer's generation.
        first: The number of the first of these events.
        events: Sealed with their numbers and their epoch.

    Raises:
        LogAwayError: Not now: Redis is away, or has lost again what was written here.
    """
    *parts, last = list(_parts(events)) or [[]]
    number = first
    for part in parts:
        state = await committer.run(calls.refill(record.run_id, epoch, first, number, part))
        if state == 0:
            return await _append(committer, calls, record, epoch=epoch, first=first, parts=[*parts, last])
        if state < 0:
            raise LogAwayError("Redis has lost again what was written again")
        number += len(part)
    size_bytes = sum(len(event) for part in parts for event in part)
    room = calls.restore(record, epoch, first, refilled=number - first, refilled_bytes=size_bytes)
    answer = await committer.run(room, calls.append(record, epoch, number, last))
    appended = appended_of(answer)
    if parts and appended.status in _LOST:
        raise LogAwayError("Redis has lost again what was written again")
    return appended


async def _append(  # noqa: PLR0913 # as above
    committer: Committer,
    calls: Calls,
    record: RunRecord,
    *,
    epoch: int,
    first: int,
    parts: Sequence[Sequence[bytes]],
) -> Appended:
    """Return what became of events that follow on what the log has."""
    appended = Appended(AppendStatus.OK)
    for part in parts:
        appended = appended_of(await committer.run(calls.append(record, epoch, first, part)))
        if appended.status is not AppendStatus.OK:
            break
        first += len(part)
    return appended


def _parts(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield events in parts, none of which is too long."""
    left = iter(events)
    while part := list(islice(left, PART_EVENTS)):
        held: list[bytes] = []
        size_bytes = 0
        for event in part:
            if held and size_bytes + len(event) > PART_BYTES:
                yield held
                size_bytes, held = 0, []
            held.append(event)
            size_bytes += len(event)
        yield held
