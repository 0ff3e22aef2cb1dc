"""Event ids: `runId.epoch.sequence`, the cursor that a browser sends back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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


def parse_event_id(text: str, field: str = "Last-Event-ID") -> EventId:
    """Return the event id that a client sent.

    Args:
        text: What it sent.
        field: The header or parameter that it stood in, for the refusal.

    Raises:
        RequestError: INVALID_ARGUMENT, not an event's id.
    """
    match = _EVENT_ID.fullmatch(text)
    if match is not None:
        epoch, sequence = int(match[2]), int(match[3])
        if epoch <= _MAX_EPOCH and sequence <= _MAX_SEQUENCE:
            return EventId(match[1], Cursor(epoch, sequence))
    raise RequestError("INVALID_ARGUMENT", "Invalid event id.", details={"field": field})


def resume_position(run_id: str, given: Mapping[str, Iterable[str]]) -> Cursor:
    """Return the position behind which a client goes on with a run: `START` when it names none.

    Args:
        run_id: The run that is followed.
        given: What each header or parameter says that can name an event, by its name: the first one that
            says anything decides. Empty texts say nothing.

    Raises:
        RequestError: INVALID_ARGUMENT, whether it decides or not: an event id that is none, is another
            run's, or differs from another one in the same place. `details.field` names that place.
    """
    positions = [_named_position(run_id, field, texts) for field, texts in given.items()]
    return next((position for position in positions if position is not None), START)


def named_event(field: str, texts: Iterable[str]) -> EventId | None:
    """Return the one event that a header or parameter names; None when it names none.

    Args:
        field: The header or parameter.
        texts: What it says, each time that it stands in the request. Empty texts say nothing.

    Raises:
        RequestError: INVALID_ARGUMENT, an event id that is none, or two that differ. `details.field` is the
            field.
    """
    ids = {parse_event_id(text, field) for text in texts if text}
    if len(ids) > 1:
        raise RequestError("INVALID_ARGUMENT", f"There is more than one {field}.", details={"field": field})
    return next(iter(ids), None)


def _named_position(run_id: str, field: str, texts: Iterable[str]) -> Cursor | None:
    """Return the one position that a field names; None when it says nothing."""
    named = named_event(field, texts)
    if named is None:
        return None
    if named.run_id != run_id:
        message = "The event id is another run's."
        raise RequestError("INVALID_ARGUMENT", message, details={"field": field})
    return named.cursor
