"""What routes need of a request, and how they document their answers."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, cast

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from edge.http.problem import MEDIA_TYPE as PROBLEM
from edge.http.problem import Problem
from edge.http.stream_policy import CONTENT_TYPE
from tokenwire.cursor import RUN_ID
from tokenwire.events import StreamEvent
from tokenwire.runs import ON_DISCONNECT, OnDisconnect
from tokenwire.v1 import run_pb2

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
