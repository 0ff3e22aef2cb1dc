"""The SSE response: tells one client of one run, from the request to the end.

It is told what comes of the run (`RunSink`), in the turn of the loop in which that came, and writes in the
same turn if its client can be written to:

    OPENING ──▶ HEAD ──▶ IDLE ◀──▶ WRITING ──▶ ENDED        (from each to ENDED)

While a write is in flight, what comes is kept up to a budget and leaves as one write after it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar.types import Receive, Scope, Send
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, Status, StatusCode

from edge.errors import EdgeError
from edge.http.drain import Drain
from edge.http.extensions import ABORT_EXTENSION, PROBE_EXTENSION, WRITER_EXTENSION, OpenWriter, Writer
from edge.http.problem import problem, request_log_fields
from edge.http.send_writer import SendWriter
from edge.http.stream_policy import STREAM_HEADERS, StreamPolicy
from edge.http.stream_slot import StreamSlot, head_alone
from edge.http.written_stream import ENDED, HEAD, IDLE, OPENING, WRITING, WrittenStream
from edge.sse.dialects import Dialect
from edge.telemetry.server_span import body_send, server_span, trace_id, traceparent
from edge.telemetry.stream_recorder import Outcome, StreamRecorder
from edge.upstream import Leave, RunCall
from tokenwire import events
from tokenwire.latency import Hop
from tokenwire.logs import bind_log_fields, log_fields
from tokenwire.outage import Repeats
from tokenwire.reasons import Reason
from tokenwire.telemetry import attributes, monotonic_nano
from tokenwire.telemetry.metrics.instruments import RESYNCS, STREAMS_SERVED

logger = logging.getLogger(__name__)

_evictions: Final = Repeats()
"""Which of the lines about clients that do not read are logged: a network that fails has thousands."""


class EventStream(WrittenStream):
    """A response that streams a run. An ASGI application for one request.

    Args:
        open_call: Returns the call that tells of the run; called once, if the stream is served at all.
        dialect: Writes the frames.
        recorder: Follows the tokens.
        slot: The stream's slot within the limits.
        policy: The pace.
        drain: Ends the stream when the edge goes down.
        budget_bytes: How much may wait for the client.
        merge: Whether neighbouring deltas that wait together become one frame.
        live: Whether the client reads the run from its start.
        heartbeats: Whether silence is broken.
    """

    __slots__ = (
        "_call",
        "_error",
        "_failure",
        "_open_call",
        "_scope",
        "_slot",
        "_turn",
        "_waits_for",
    )

    def __init__(  # noqa: PLR0913 # what a stream joins
        self,
        open_call: Callable[[], RunCall],
        dialect: Dialect,
        recorder: StreamRecorder,
        *,
        slot: StreamSlot,
        policy: StreamPolicy,
        drain: Drain,
        budget_bytes: int,
        merge: bool,
        live: bool,
        heartbeats: bool = True,
    ) -> None:
        super().__init__(
            dialect,
            recorder,
            policy=policy,
            drain=drain,
            budget_bytes=budget_bytes,
            merge=merge,
            live=live,
            heartbeats=heartbeats,
        )
        self._open_call: Callable[[], RunCall] | None = open_call
        self._slot = slot
        self._failure: EdgeError | None = None  # of the run
        self._error: Exception | None = None  # of this stream
        self._call: RunCall | None = None
        self._waits_for: Hop | None = None

    # The request's own task.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream to the end, or until the client has gone; or refuse to."""
        if await head_alone(scope, send):
            return
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._turn = self._loop.create_future()
        refusal = self._slot.take(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:  # from here on the slot is held: whatever fails gives it back
            self._begin()
            self._writer = self._open_writer(receive, send)
            self._write = self._writer.write
            await self._serve(receive, send)
        finally:
            self._finish("error", Leave.BROKEN)  # where it has not ended by itself
            self._describe()
            if self._writer is not None:
                await self._writer.aclose()

    def _begin(self) -> None:
        """Have the stream recorded, and ended when the edge goes down."""
        fields = request_log_fields(self._scope)
        bind_log_fields(fields)
        self._recorder.begin(self, fields)
        self._drain.add(self.drain)

    def _open_writer(self, receive: Receive, send: Send) -> Writer:
        """Return what writes the body, and tells from now on whether the client has gone."""
        extensions: Mapping[str, Any] = self._scope.get("extensions") or {}
        if (probe_with := extensions.get(PROBE_EXTENSION)) is not None:
            probe_with(self.probe)
        open_writer: OpenWriter | None = extensions.get(WRITER_EXTENSION)
        if open_writer is not None:
            return open_writer(self)
        return SendWriter(receive, body_send(self._scope, send), self)

    async def _serve(self, receive: Receive, send: Send) -> None:
        """Answer in two phases: a status within the commit time, then frames to the end."""
        assert self._open_call is not None  # noqa: S101 # a response is served once
        self._call = call = self._open_call()
        self._open_call = None
        self._timer = self._loop.call_later(self._policy.commit_s, self._go_on)
        call.start(self)
        await self._turn
        self._timer.cancel()
        if self._phase is OPENING and self._failure is not None and not self._items:
            self._finish("error", Leave.ENDED)
            await problem(self._failure, self._scope)(self._scope, receive, send)
            return
        if self._phase is OPENING:
            self._phase = HEAD
            # Behind another answer that the client does not read, the head would wait for ever.
            self._timer = self._loop.call_later(self._policy.write_deadline_s, self._evict)
            await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
            self._timer.cancel()
        if self._phase is HEAD:
            self._turn = self._loop.create_future()
            if self._failure is not None:
                self._fail()
            elif self._drain.started:
                self._part()
            self._start_writing()
            await self._turn
        if self._error is not None:
            raise self._error
        if self._outcome == "drained" and not self._dialect.traits.has_cursors:
            self._cut()
        elif self._outcome not in {"client_disconnect", "evicted"}:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _go_on(self) -> None:
        """Have the request's own task go on."""
        if not self._turn.done():
            self._turn.set_result(None)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [*STREAM_HEADERS]
        if self.run_id:
            headers.append((b"run-id", self.run_id.encode()))
        if parent := traceparent(self._scope):
            headers.append((b"traceparent", parent.encode()))
        if self._recorder.timing_token:
            headers.append((b"timing-token", self._recorder.timing_token.encode()))
        headers += self._dialect.headers()
        return headers

    # What the upstream calls, beside what `StreamState` has.

    def end(self, failure: EdgeError | None) -> None:
        """Learn that nothing more comes of the run."""
        if self.terminal is not None or self._phase is ENDED:
            return
        self._failure = failure or EdgeError("UNAVAILABLE", details={"reason": Reason.STREAM_ENDED_EARLY})
        if self._phase is OPENING:
            self._go_on()
        elif self._phase is not HEAD:
            self._guard(self._fail)

    @property
    def span_context(self) -> SpanContext:
        """Names the span of what carries the run; invalid where nothing does."""
        return self._call.span_context if self._call is not None else INVALID_SPAN_CONTEXT

    # What the connection, the timer and the drain call.

    def gone(self) -> None:
        """End: the client has left."""
        self._finish("client_disconnect", Leave.LEFT if self.terminal is None else Leave.ENDED)

    def drain(self) -> None:
        """Hand the client over to another edge. One that was sent nothing yet is, as soon as it was."""
        if self._phase is IDLE or self._phase is WRITING:
            self._guard(self._part)

    def _evict(self) -> None:
        """Cut off a client that does not read: closing in good order would wait for it for ever."""
        fields = {**request_log_fields(self._scope), **log_fields(run_id=self.run_id)}
        text = "client of run %s does not read: cut off"
        _evictions.log(logger, logging.WARNING, text, self.run_id, **fields)
        is_cut = self._cut()  # first: the server knows of it then before this response has returned
        self._finish("evicted", Leave.EVICTED)
        if not is_cut:
            logger.error(
                "the ASGI server has no %s: the stuck client stays connected", ABORT_EXTENSION, extra=fields
            )

    def _cut(self) -> bool:
        """Cut the connection, if the server can do that. Else it does so once a response ends half."""
        abort = (self._scope.get("extensions") or {}).get(ABORT_EXTENSION)
        if callable(abort):
            abort()
        return callable(abort)

    # How it ends.

    def _resume(self) -> None:
        """Say that there is room again."""
        if self._call is not None:
            self._call.resume()

    def _end_well(self) -> None:
        """End: all is written."""
        self._finish(self._outcome or "error", Leave.ENDED)

    def _broke(self, error: Exception) -> None:
        """End: there is a fault in what serves this stream. Its connection is cut."""
        self._error = error
        self._finish("error", Leave.BROKEN)

    def _fail(self) -> None:
        """Say what the core can't say any more: that it was lost."""
        assert self._failure is not None  # noqa: S101 # it has failed
        self.fail(self._failure, timestamp=round(time.time() * 1000, 1), trace_id=trace_id(self._scope))
        if self._phase is IDLE:
            self._write_out(bytearray())

    def _part(self) -> None:
        """Say that this edge is going down, and want nothing more of the run."""
        if self.terminal is None:
            self._outcome = "drained"
            self._close_call(Leave.DRAINED)
            self.reconnect(self._retry_ms())
            if self._phase is IDLE:
                self._write_out(bytearray())

    def _close_call(self, leave: Leave) -> None:
        if self._call is not None:
            if self._waits_for is None:  # not of a call that was closed before
                is_silent = self._failure is not None or self._call.is_silent
                self._waits_for = "link" if is_silent else "model"
            self._call.close(leave)

    def _finish(self, outcome: Outcome, leave: Leave) -> None:
        """End, if that was not done before. The slot is back before the client can see the end."""
        if self._phase is ENDED:
            return
        self._phase = ENDED
        self._outcome = outcome
        if self._timer is not None:
            self._timer.cancel()
        self._drain.remove(self.drain)
        self._slot.release()
        self._close_call(leave)
        self._go_on()

    def _describe(self) -> None:
        """Write how the stream ended into the request's span, and have its tokens told."""
        outcome, terminal = self._outcome or "error", self.terminal
        span = server_span(self._scope)
        if self.run_id:
            span.set_attribute(attributes.RUN_ID, self.run_id)
        span.set_attribute(attributes.STREAM_OUTCOME, outcome)
        span.set_attribute(attributes.STREAM_DIALECT, self._dialect.traits.name)
        STREAMS_SERVED.add(1, self._dialect.traits.name, outcome)
        span.set_attribute(attributes.STREAM_SENDS, self._sends)
        span.set_attribute(attributes.STREAM_BYTES, self._bytes)
        if self.resyncs:
            RESYNCS.add(self.resyncs)
        if self.unknown:
            span.set_attribute(attributes.STREAM_UNKNOWN, self.unknown)
        if isinstance(terminal, events.Error):
            span.set_attribute(attributes.ERROR_TYPE, terminal.code)
            span.set_status(Status(StatusCode.ERROR, terminal.message))
        self._recorder.end(outcome, monotonic_nano(), self._waits_for or "model")
