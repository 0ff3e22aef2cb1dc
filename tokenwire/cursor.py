"""Positions in a run's log, and the ids by which browsers name them: `runId.epoch.sequence`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

TAG_LENGTH: Final = 4
"""A run's id begins with a tag of the core's incarnation that minted it …"""

RANDOM_LENGTH: Final = 26
"""… and goes on with random characters."""

RUN_ID: Final = re.compile(rf"[0-9a-z]{{{TAG_LENGTH + RANDOM_LENGTH}}}")
"""A run's id as cores mint it."""

_EVENT_ID: Final = re.compile(rf"({RUN_ID.pattern})\.([1-9][0-9]{{0,9}})\.(0|[1-9][0-9]{{0,18}})")
_MAX_EPOCH: Final = 2**32 - 1
_MAX_SEQUENCE: Final = 2**63 - 1


class Cursor(NamedTuple):
    """A position in a run's log. Compares as (epoch, sequence)."""

    epoch: int
    """From 1."""
    sequence: int
    """From 1; 0 lies before the first event."""


START: Final = Cursor(1, 0)
"""Before a run's first event."""


def is_run_id(text: str) -> bool:
    """Return whether a text has the form of a run's id, whoever minted it."""
    return RUN_ID.fullmatch(text) is not None


def tag_of(run_id: str) -> str:
    """Return the tag of the incarnation that minted a run's id."""
    return run_id[:TAG_LENGTH]


class EventId(NamedTuple):
    """An event's id.

    Its text has only [0-9a-z.] and stays under 128 bytes: a browser may send a longer one, or other
    characters, only after a CORS preflight.

    Source: https://fetch.spec.whatwg.org/#cors-unsafe-request-header-byte
    """

    run_id: str
    cursor: Cursor

    def __str__(self) -> str:
        """Return the id as frames carry it."""
        return f"{self.run_id}.{self.cursor.epoch}.{self.cursor.sequence}"


def parse_event_id(text: str) -> EventId:
    """Return the event that an id names.

    Args:
        text: The id, as a client sent it.

    Raises:
        ValueError: It is not an event id.
    """
    match = _EVENT_ID.fullmatch(text)
    if match is not None:
        epoch, sequence = int(match[2]), int(match[3])
        if epoch <= _MAX_EPOCH and sequence <= _MAX_SEQUENCE:
            return EventId(match[1], Cursor(epoch, sequence))
    raise ValueError("Invalid event id.")
