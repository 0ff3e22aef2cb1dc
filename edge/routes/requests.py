"""What routes need of a request, and say of a run."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from edge.http.problem import MEDIA_TYPE as PROBLEM
from edge.http.problem import Problem
from edge.http.stream_policy import CONTENT_TYPE
from tokenwire.cursor import RUN_ID, EventId
from tokenwire.events import StreamEvent
from tokenwire.translate import cursor_of
from tokenwire.v1 import run_pb2

OnDisconnect = Literal["cancel", "grace", "continue"]

ON_DISCONNECT: dict[str, run_pb2.OnDisconnect.ValueType] = {
    "cancel": run_pb2.ON_DISCONNECT_CANCEL,
    "grace": run_pb2.ON_DISCONNECT_GRACE,
    "continue": run_pb2.ON_DISCONNECT_CONTINUE,
}
STATE = {
    run_pb2.RUN_STATE_RUNNING: "running",
    run_pb2.RUN_STATE_CANCELLING: "cancelling",
    run_pb2.RUN_STATE_ENDED: "ended",
}


EVENT_STREAM_RESPONSE = ResponseSpec(
    cast(type[Any], StreamEvent),  # Litestar takes unions, though its annotation does not
    description="One event per frame. The schema is that of the JSON in the `data` line.",
    media_type=CONTENT_TYPE,
    generate_examples=False,
)


def refusal(description: str) -> ResponseSpec:
    """Return how a refusal is documented."""
    return ResponseSpec(Problem, description=description, media_type=PROBLEM, generate_examples=False)


REFUSALS = {
    400: refusal("Invalid request; `details.field` names the field, if it is about one."),
    401: refusal("Credentials are missing or invalid."),
    403: refusal("The host name is not served here, or a page of another site sent the request."),
    408: refusal("The headers or the body did not arrive in time."),
    414: refusal("The URL is too long."),
    429: refusal("A limit is exceeded, which `details.limit` names, or the service is overloaded."),
    431: refusal("The headers are too large, or too many."),
    500: refusal("Internal error; search the log for `traceId`."),
    503: refusal("No core, or no issuer of tokens, can be reached, or this server is shutting down."),
    504: refusal("The core did not answer in time."),
}
RUN_REFUSALS = REFUSALS | {
    404: refusal("Unknown run."),
    410: refusal("The run's log was lost with its core."),
}
CHANGE_REFUSALS = RUN_REFUSALS | {
    413: refusal("The body is too large."),
    415: refusal("The body is not JSON, or its content type is missing."),
}
"""Of what changes something: each has a body, or may have one."""


RunIdInPath: TypeAlias = Annotated[
    str,
    PathParameter(
        description="Run id, as in the header `Run-Id`.",
        # Told in the schema alone: `check_run_id` refuses others, in words of its own.
        schema_extra={"pattern": f"^{RUN_ID.pattern}$"},
    ),
]
"""The path parameter of all routes below a run."""


class ChatRequest(msgspec.Struct, rename="camel"):
    """What the user said."""

    message: Annotated[str, msgspec.Meta(min_length=1)]
    """The message; not empty."""
    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """The session that it belongs to."""
    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    """A label for the user, never an identity."""
    agent: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """The agent to ask; the core's default when left out."""
    on_disconnect: OnDisconnect = "grace"
    """What becomes of the run when its last follower has left by itself."""

    def to_run_spec(self) -> run_pb2.RunSpec:
        """Return the same for the core."""
        return run_pb2.RunSpec(
            message=self.message,
            session_id=self.session_id,
            user_id=self.user_id or "",
            agent=self.agent or "",
            on_disconnect=ON_DISCONNECT[self.on_disconnect],
        )


class RunAccepted(msgspec.Struct, rename="camel"):
    """A run was started."""

    run_id: str
    """The run's id."""
    events_url: str
    """Where its events stream: for an `EventSource`."""


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
    """running, cancelling or ended."""
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


def _event_id(run: run_pb2.Run, field: Literal["first", "last"]) -> str | None:
    cursor: run_pb2.Cursor = getattr(run, field)
    return str(EventId(run.run_id, cursor_of(cursor))) if cursor.sequence else None


def _time(run: Any, field: str) -> str | None:
    if not run.HasField(field):
        return None
    stamp: Timestamp = getattr(run, field)
    return stamp.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds")
