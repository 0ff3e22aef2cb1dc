"""Event ids: `runId.epoch.sequence`, the cursor that a browser sends back."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from edge.errors import RequestError

RUN_ID: Final = re.compile(r"[0-9a-z]{30}")
"""A run's id as cores mint it."""

_EVENT_ID: Final = re.compile(r"([0-9a-z]{30})\.([1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,18})")
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


def check_run_id(text: str) -> str:
    """Return the run id.

    Raises:
        RequestError: INVALID_ARGUMENT, not a run's id.
    """
    if RUN_ID.fullmatch(text) is None:
        raise RequestError("INVALID_ARGUMENT", "Invalid run id.", details={"field": "runId"})
    return text


def parse_event_id(text: str) -> EventId:
    """Return the event id that a client sent.

    Raises:
        RequestError: INVALID_ARGUMENT, not an event's id.
    """
    match = _EVENT_ID.fullmatch(text)
    if match is not None:
        epoch, sequence = int(match[2]), int(match[3])
        if epoch <= _MAX_EPOCH and sequence <= _MAX_SEQUENCE:
            return EventId(match[1], Cursor(epoch, sequence))
    raise RequestError("INVALID_ARGUMENT", "Invalid event id.", details={"field": "Last-Event-ID"})
