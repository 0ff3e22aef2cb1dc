"""A response that is sent once its run has ended: for clients that want no stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from edge.errors import EdgeError
from edge.http.extensions import ABORT_EXTENSION, PROBE_EXTENSION
from edge.http.problem import problem
from edge.http.stream_slot import StreamSlot
from edge.http.written_stream import outcome_of
from edge.sse.dialects import Dialect
from edge.sse.stream import StreamState
from edge.telemetry.server_span import server_span, traceparent
from edge.telemetry.stream_recorder import Outcome
from edge.upstream import Leave, RunCall
from tokenwire import events
from tokenwire.telemetry import attributes
from tokenwire.telemetry.metrics.instruments import STREAMS_SERVED

BUDGET_BYTES = 1 << 20
"""Never used up: what is kept for the answer does not wait."""


class WholeDialect(Dialect, Protocol):
    """A dialect that keeps a run's answer instead of writing it."""

    def document(self) -> bytes | None:
        """Return the whole answer as JSON; None where the run has no end that is one."""


class WholeAnswer(StreamState):
    """An ASGI application for one request: reads a run to its end, and answers with all of it.

    Args:
        open_call: Returns the call that tells of the run; called once, if the request is served at all.
        dialect: Keeps the answer.
        slot: The slot within the limits: it counts as a stream.
    """

    __slots__ = ("_dialect_of_whole", "_finished", "_open_call", "_slot")

    def __init__(self, open_call: Callable[[], RunCall], dialect: WholeDialect, slot: StreamSlot) -> None:
        super().__init__(dialect, budget_bytes=BUDGET_BYTES, live=True)
        self._dialect_of_whole = dialect
        self._open_call = open_call
        self._slot = slot
        self._finished: asyncio.Future[EdgeError | None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to; or stop at once where the client has left."""
        refusal = self._slot.take(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._finished = asyncio.get_running_loop().create_future()
        call, leave = self._open_call(), Leave.BROKEN
        outcome: Outcome = "error"
        leaving = asyncio.create_task(_gone(receive))
        # There is nothing to write that would tell a client that has left from one that has only ended its
        # side of the connection and reads on, and of these clients none does that.
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        if (probe_with := extensions.get(PROBE_EXTENSION)) is not None:
            probe_with(leaving.cancel)
        try:
            call.start(self)
            either: set[asyncio.Future[Any]] = {self._finished, leaving}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            leave = Leave.ENDED if self._finished.done() else Leave.LEFT
            outcome = self._outcome()
        finally:
            leaving.cancel()
            call.close(leave)
            self._slot.release()
            self._describe(scope, outcome)
        if leave is Leave.ENDED:
            await self._response(scope)(scope, receive, send)
        elif (abort := extensions.get(ABORT_EXTENSION)) is not None:
            abort()
            await asyncio.sleep(0)  # the server knows of it then, and does not answer in this one's place

    # What the upstream calls, beside what `StreamState` has.

    def flush(self) -> None:
        """Keep what was told."""
        self.take(bytearray())
        if self.terminal is not None:
            self.end(None)

    def end(self, failure: EdgeError | None) -> None:
        """Learn that nothing more comes of the run."""
        if not self._finished.done():
            self._finished.set_result(failure)

    def _outcome(self) -> Outcome:
        if not self._finished.done():
            return "client_disconnect"
        return "error" if self.terminal is None else outcome_of(self.terminal)

    def _response(self, scope: Scope) -> ASGIResponse:
        """Return the answer, or why there is none."""
        document = self._dialect_of_whole.document()
        if document is None:
            return problem(self._failure(), scope)
        headers = {"run-id": self.run_id, "cache-control": "no-store"}
        if parent := traceparent(scope):
            headers["traceparent"] = parent
        return ASGIResponse(body=document, media_type="application/json", headers=headers)

    def _failure(self) -> EdgeError:
        """Return why there is no answer."""
        told = self.terminal
        if isinstance(told, events.Error):
            return EdgeError(told.code, told.message, retryable=told.retryable, details=told.details)
        if told is not None:
            return EdgeError("CANCELLED", "The run was cancelled.")
        return self._finished.result() or EdgeError("UNAVAILABLE")

    def _describe(self, scope: Scope, outcome: Outcome) -> None:
        """Write how it ended into the request's span, and count it."""
        name = self._dialect.traits.name
        STREAMS_SERVED.add(1, name, outcome)
        span = server_span(scope)
        span.set_attribute(attributes.STREAM_OUTCOME, outcome)
        span.set_attribute(attributes.STREAM_DIALECT, name)
        if self.run_id:
            span.set_attribute(attributes.RUN_ID, self.run_id)


async def _gone(receive: Receive) -> None:
    """Return when the client has left."""
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
