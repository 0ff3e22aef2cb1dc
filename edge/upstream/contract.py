"""What the edge wants of the cores, whatever carries it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from opentelemetry.context import Context

from tokenwire.v1 import agent_service_pb2, run_pb2


class Caller(NamedTuple):
    """On whose behalf a call is made."""

    context: Context
    """The trace context of the request."""
    principal: str
    """Who is asking."""


class RunCall(Protocol):
    """One streaming call. Whoever opened it cancels it, always."""

    async def read(self) -> bytes | None:
        """Return the next encoded StreamRunResponse or FollowRunResponse, or None after the last one.

        Raises:
            UpstreamError: the core refused the call, broke it, or can't be reached.
            asyncio.CancelledError: the call was cancelled.
        """

    def cancel(self) -> None:
        """End the call at once. Needless, and harmless, after its end."""


class Upstream(Protocol):
    """The cores. Every method raises UpstreamError when the core refuses or can't be reached."""

    def stream_run(self, run: run_pb2.RunSpec, caller: Caller) -> RunCall:
        """Return the call that starts a run and streams its events.

        Args:
            run: What to run.
            caller: On whose behalf.
        """

    def follow_run(self, run_id: str, after: run_pb2.Cursor, caller: Caller) -> RunCall:
        """Return the call that streams a run's events after a cursor.

        Args:
            run_id: The run.
            after: The last event that the reader has; sequence 0 for none.
            caller: On whose behalf.
        """

    async def start_run(self, run: run_pb2.RunSpec, caller: Caller) -> run_pb2.Run:
        """Start a run without following it and return its state.

        Args:
            run: What to run.
            caller: On whose behalf.
        """

    async def get_run(self, run_id: str, caller: Caller) -> run_pb2.Run:
        """Return a run's state.

        Args:
            run_id: The run.
            caller: On whose behalf.
        """

    async def cancel_run(
        self, run_id: str, cause: agent_service_pb2.CancelCause.ValueType, caller: Caller
    ) -> run_pb2.Run:
        """Cancel a run and return the state that came of it.

        Args:
            run_id: The run.
            cause: Why.
            caller: On whose behalf.
        """

    async def ready(self) -> bool:
        """Return whether a core can start runs now."""
