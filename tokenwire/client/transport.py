"""What the client needs of a way to the server: gRPC to cores, HTTP to an edge."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from tokenwire.cursor import Cursor, EventId
from tokenwire.events import ControlEvent, StreamEvent
from tokenwire.runs import OnDisconnect, RunView, SessionRuns, Transcript


@dataclass(frozen=True, slots=True)
class Credentials:
    """What authenticates the client."""

    api_key: str = field(default="", repr=False)
    """An API key or a JWT; empty for none. A core is not sent it if there is a `principal_key`."""
    principal: str = ""
    """On whose behalf to call a core; signed with `principal_key`."""
    principal_key: str = field(default="", repr=False)
    """The key that the core shares with its callers; empty for none."""
    tls_ca: Path | None = None
    """PEM file of the authorities to trust; None for those of the system."""
    tls_cert: Path | None = None
    """PEM file of the client's certificate; None for none."""
    tls_key: Path | None = None
    """PEM file of its key."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A run to be started. The same request starts one run only, however often it is sent."""

    message: str
    agent: str
    session_id: str
    user_id: str
    on_disconnect: OnDisconnect
    timeout_s: float | None
    """The longest time that the run may take, in seconds; None for the server's limit."""
    request_id: str
    """Identifies the request. At most 128 characters, without control characters."""


class Received(NamedTuple):
    """One thing that came on a stream."""

    run_id: str
    """The run; empty while the server has not named it."""
    id: EventId | None
    """The event's id; None for what is not part of the run."""
    event: StreamEvent | ControlEvent | None
    """None for an event that this version does not know: it keeps its place in the run's order."""
    retry_s: float | None = None
    """When to come back after this stream has ended, in seconds; None: no change."""


class Answer(NamedTuple):
    """The answer to a question of a run. Sent again, it is answered the same."""

    run_id: str
    input_id: str
    value_json: str | None
    """The value as JSON; None where the question is declined."""
    request_id: str
    """Names this answer. At most 128 characters, without control characters."""


class Page(NamedTuple):
    """Which part of a session is asked for."""

    session_id: str
    size: int
    token: str
    """`next_page_token` of the page before; empty for the first."""
    newest_first: bool = True


class Transport(Protocol):
    """A way to start runs, to follow and to stop them.

    Each method raises `UnreachableError`, `ConnectionLostError` or `RefusedError`.
    """

    is_dense: bool
    """Whether every event of a run comes, also those that this version does not know."""
    guard_s: float
    """How long after a run's `timeout_s` the client itself stops it, in seconds."""

    @property
    def is_out_of_reach(self) -> bool:
        """Whether all addresses were tried, and no server has ever answered."""
        ...

    def fork(self) -> Self:
        """Return another one over the same connections, for one run or one call: its `turn` is its own."""
        ...

    def start(self, request: StartRequest) -> AsyncGenerator[Received, None]:
        """Start a run, or find the one that the request has started; yield what comes."""
        ...

    def follow(self, run_id: str, after: Cursor | None, *, relay: bool) -> AsyncGenerator[Received, None]:
        """Yield what comes after an event, until the stream ends.

        Args:
            run_id: The run.
            after: The last event that the reader has; None to begin with the first.
            relay: Whether the end of the stream is not to count as leaving: `leave` says that.
        """
        ...

    async def turn(self) -> None:
        """Use the next address, with a new connection, after a failure. Other calls go on where they are."""
        ...

    async def cancel(self, run_id: str) -> RunView:
        """Stop a run; return its state."""
        ...

    async def send_input(self, answer: Answer) -> str:
        """Answer a question; return its outcome: answered or declined."""
        ...

    async def leave(self, run_id: str) -> None:
        """Say that a reader with `relay` has left by itself."""
        ...

    async def get(self, run_id: str) -> RunView:
        """Return the state of a run."""
        ...

    async def runs(self, page: Page) -> SessionRuns:
        """Return runs of a session."""
        ...

    async def transcript(self, page: Page) -> Transcript:
        """Return turns of a session."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
