"""What is known of a run and of a session, as JSON tells it. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from tokenwire.cursor import EventId
from tokenwire.translate import cursor_of, time_text
from tokenwire.v1 import agent_service_pb2, run_pb2

MAX_HISTORY_MESSAGES: Final = 256
MAX_HISTORY_BYTES: Final = 128 * 1024
"""The longest history that a client may send, in messages and in bytes of UTF-8: as the contract says."""

OnDisconnect = Literal["cancel", "grace", "continue"]
"""What happens to a run when its last follower has disconnected by itself."""

ON_DISCONNECT: Final[dict[OnDisconnect, run_pb2.OnDisconnect.ValueType]] = {
    "cancel": run_pb2.ON_DISCONNECT_CANCEL,
    "grace": run_pb2.ON_DISCONNECT_GRACE,
    "continue": run_pb2.ON_DISCONNECT_CONTINUE,
}
STATE: Final[dict[int, str]] = {
    run_pb2.RUN_STATE_RUNNING: "running",
    run_pb2.RUN_STATE_CANCELLING: "cancelling",
    run_pb2.RUN_STATE_ENDED: "ended",
    run_pb2.RUN_STATE_WAITING: "waiting",
}


class Terminal(msgspec.Struct, rename="camel"):
    """How a run ended."""

    event: str
    """done or error."""
    reason: str
    """The finish reason, or the error's code."""


class RunView(msgspec.Struct, rename="camel", kw_only=True):
    """What is known of a run."""

    run_id: str
    """The run's id."""
    session_id: str
    """The session that it belongs to; empty for none."""
    agent: str
    """The agent that answers."""
    state: str
    """running, waiting, cancelling or ended."""
    on_disconnect: str
    """cancel, grace or continue."""
    first: str | None
    """The id of the first event that the log still holds; null when it holds none."""
    last: str | None
    """The id of the log's last event; null when it holds none."""
    terminal: Terminal | None
    """How the run ended; null while it goes on."""
    create_time: str | None
    """When it began: RFC 3339."""
    end_time: str | None
    """When it ended; null while it goes on."""
    expire_time: str | None
    """When the log forgets it; null while it goes on."""


class SessionRuns(msgspec.Struct, rename="camel"):
    """A session's runs, newest first."""

    runs: list[RunView]
    """The runs."""
    next_page_token: str
    """Asks for the next page, as `pageToken`; empty on the last."""


class Turn(msgspec.Struct, rename="camel", kw_only=True):
    """One question of a session, and what was answered."""

    run_id: str
    """The run that answers."""
    message: str
    """What the user said; empty for a run that was started before messages were kept."""
    state: str
    """running, waiting, cancelling or ended."""
    terminal: Terminal | None
    """How the run ended; null while it goes on."""
    text: str | None
    """The whole text of an ended run; of one that was cancelled or failed, the text so far. Null while the
    run goes on, and where the whole text can't be returned: follow the run from its start then."""
    first: str | None
    """The id of the first event that the log still holds; null when it holds none."""
    last: str | None
    """The id of the log's last event; null when it holds none."""
    create_time: str | None
    """When the run began: RFC 3339."""


class Transcript(msgspec.Struct, rename="camel"):
    """A session's turns, in the order that was asked for."""

    turns: list[Turn]
    """The turns."""
    next_page_token: str
    """Asks for the next page, as `pageToken` with the same `order`; empty on the last."""


def view_of(run: run_pb2.Run) -> RunView:
    """Return a run as JSON tells it."""
    on_disconnect = {number: name for name, number in ON_DISCONNECT.items()}
    return RunView(
        run_id=run.run_id,
        session_id=run.session_id,
        agent=run.agent,
        state=STATE.get(run.state, "running"),
        on_disconnect=on_disconnect.get(run.on_disconnect, "grace"),
        first=_event_id(run, "first"),
        last=_event_id(run, "last"),
        terminal=Terminal(run.outcome.event, run.outcome.reason) if run.HasField("outcome") else None,
        create_time=_time(run, "create_time"),
        end_time=_time(run, "end_time"),
        expire_time=_time(run, "expire_time"),
    )


def turn_of(turn: agent_service_pb2.Turn) -> Turn:
    """Return a turn as JSON tells it."""
    run = view_of(turn.run)
    return Turn(
        run_id=run.run_id,
        message=turn.run.message,
        state=run.state,
        terminal=run.terminal,
        text=turn.text if turn.HasField("text") else None,
        first=run.first,
        last=run.last,
        create_time=run.create_time,
    )


def _event_id(run: run_pb2.Run, field: Literal["first", "last"]) -> str | None:
    cursor: run_pb2.Cursor = getattr(run, field)
    return str(EventId(run.run_id, cursor_of(cursor))) if cursor.sequence else None


def _time(run: Any, field: str) -> str | None:
    if not run.HasField(field):
        return None
    return time_text(getattr(run, field))
