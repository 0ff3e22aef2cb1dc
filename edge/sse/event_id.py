"""The event ids of a request: where a client wants to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.errors import RequestError
from tokenwire.cursor import START, Cursor, EventId, is_run_id, parse_event_id


def check_run_id(text: str) -> str:
    """Return the run id.

    Raises:
        RequestError: INVALID_ARGUMENT, not a run's id.
    """
    if not is_run_id(text):
        raise RequestError("INVALID_ARGUMENT", "Invalid run id.", details={"field": "runId"})
    return text


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
    try:
        ids = {parse_event_id(text) for text in texts if text}
    except ValueError as error:
        raise RequestError("INVALID_ARGUMENT", str(error), details={"field": field}) from error
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
