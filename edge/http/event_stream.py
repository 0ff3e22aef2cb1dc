"""The SSE response: reads one run from a core and writes it to one client, and closes what it opened.

Three tasks serve a stream: the request's own writes, one reads from the core, one watches for the
client's leaving from the first line on (`send` to a client that has gone says nothing, only `receive`
tells). While a write is in flight the reader goes on filling the stream's state up to its budget, so
what became ready in the meantime leaves as one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from opentelemetry.trace import Status, StatusCode

from edge.errors import CORE_AWAY, EdgeError, StreamBrokenError, UpstreamError
from edge.http.drain import Drain
from edge.http.extensions import ABORT_EXTENSION, FLUSH_EXTENSION, PROBE_EXTENSION
from edge.http.problem import problem, request_log_fields
from edge.http.stream_policy import CONTENT_TYPE, STREAM_HEADERS, StreamPolicy
from edge.sse.frames import HEARTBEAT_COMMENT, HEARTBEAT_PING, write_retry
from edge.sse.stream import StreamState, opening
from edge.telemetry.server_span import server_span, trace_id, traceparent
from edge.telemetry.stream_recorder import Outcome, StreamRecorder
from edge.upstream import RunCall
from tokenwire import events
from tokenwire.latency import Hop
from tokenwire.logs import bind_log_fields, log_fields
from tokenwire.outage import Repeats
from tokenwire.telemetry import attributes, monotonic_nano
from tokenwire.telemetry.metrics.instruments import RESYNCS

LEAVE_TIMEOUT_S: Final = 5.0
"""How long a stream whose client has gone waits to learn its run's id, to tell the core so."""

RETELL_FACTOR: Final = 2.0
"""By how much the time to come back must have changed for a client to be told it anew. An edge that dies
can't say it then."""

END_TIMEOUT_S: Final = 1.0
"""How long a stream that has sent its terminal event waits for its call's own end."""

logger = logging.getLogger(__name__)

_evictions: Final = Repeats()
"""Which of the lines about clients that do not read are logged: a network that fails has thousands."""

_untold: Final = Repeats()
"""Which of the lines about clients that left unnoticed are logged."""


class EventStream(ASGIResponse):
    """A response that streams a run.

    Args:
        open_call: Opens the call that is read; called once.
        state: What the client has, and what waits for it.
        say_left: Tells the core that the client of a run left by itself; may raise UpstreamError.
        policy: The pace.
        drain: Ends the stream when the edge goes down.
        recorder: Follows the tokens.
    """

    def __init__(  # noqa: PLR0913 # what a stream joins
        self,
        open_call: Callable[[], RunCall],
        state: StreamState,
        *,
        say_left: Callable[[str], Awaitable[object]],
        policy: StreamPolicy,
        drain: Drain,
        recorder: StreamRecorder,
    ) -> None:
        super().__init__(media_type=CONTENT_TYPE)
        self._open_call = open_call
        self._state = state
        self._say_left = say_left
        self._policy = policy
        self._drain = drain
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream to the end, or until the client has gone."""
        bind_log_fields(request_log_fields(scope))
        session = _Session(
            self._open_call(), self._state, self._policy, self._drain, self._recorder, scope, send
        )
        self._drain.add(session.wake)
        try:
            outcome = await session.run(receive)
        finally:
            self._drain.remove(session.wake)
        if outcome == "client_disconnect":
            await self._leave()

    async def _leave(self) -> None:
        """Tell the core that the client left by itself: its run's OnDisconnect decides what follows."""
        if self._state.terminal is not None or not self._state.run_id:
            return
        try:
            await self._say_left(self._state.run_id)
        except UpstreamError as error:
            if error.code == "NOT_FOUND":
                return  # It has ended and was forgotten in the meantime.
            # The core sees the call's end all the same, and counts it as a broken link. Where it is away, who
            # watches it has said so: once, not for each client that leaves meanwhile.
            _untold.log(
                logger,
                logging.DEBUG if error.code in CORE_AWAY else logging.WARNING,
                "can't tell the core that the client of run %s left: %s",
                self._state.run_id,
                error,
                **log_fields(run_id=self._state.run_id),
            )


class _Session:
    """One stream, from its first line to its last."""

    def __init__(  # noqa: PLR0913, PLR0917 # what it joins, and how
        self,
        call: RunCall,
        state: StreamState,
        policy: StreamPolicy,
        drain: Drain,
        recorder: StreamRecorder,
        scope: Scope,
        send: Send,
    ) -> None:
        self._call = call
        self._state = state
        self._policy = policy
        self._drain = drain
        self._recorder = recorder
        self._scope = scope
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._gone = False
        self._evicted = False
        self._failure: EdgeError | None = None
        self._call_ended = False
        self._closing = False
        self._sending_since: float | None = None
        self._last_write = self._loop.time()
        self._heartbeat_due = False
        self._told_spread_ms = policy.spread_ms(drain.streams)
        self._retry_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._sends = 0
        self._bytes = 0
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        self._flush: Callable[[], Awaitable[bool]] = extensions.get(FLUSH_EXTENSION, _at_once)
        if (probe_with := extensions.get(PROBE_EXTENSION)) is not None:
            probe_with(self._write_soon)

    def wake(self) -> None:
        """Have the writer look at what has changed."""
        self._woken.set()

    def _write_soon(self) -> None:
        """Have the writer write something now, a heartbeat for want of anything else."""
        self._heartbeat_due = True
        self.wake()

    async def run(self, receive: Receive) -> Outcome:
        """Return how the stream ended; everything that it opened is closed by then."""
        self._recorder.begin(lambda: self._state.run_id, lambda: self._call.span_context)
        watcher = asyncio.create_task(self._watch(receive))
        reader = asyncio.create_task(self._read())
        outcome: Outcome = "error"
        try:
            outcome = await self._write(receive)
            if outcome == "client_disconnect" and not self._state.run_id:
                await self._until(lambda: bool(self._state.run_id) or self._call_ended, LEAVE_TIMEOUT_S)
            elif outcome in {"completed", "cancelled", "error"}:
                # The call's own end is on its way: hear it, so that it is not taken for cancelled.
                await self._until(lambda: self._call_ended, END_TIMEOUT_S)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._closing = True
            waits_for: Hop = "link" if self._call_ended or self._call.is_silent else "model"
            self._call.cancel()
            self._room.set()
            watcher.cancel()
            # The reader is not cancelled: its read ends with the call. Cancelling a read leaks in grpc.aio.
            await asyncio.gather(reader, watcher, return_exceptions=True)
            self._describe(outcome, waits_for)
        return outcome

    async def _watch(self, receive: Receive) -> None:
        """Note when the client has gone."""
        while (await receive())["type"] != "http.disconnect":
            pass  # what is left of the request's body
        self._gone = True
        self.wake()

    async def _read(self) -> None:
        """Feed the state from the core, no faster than its budget allows."""
        try:
            while (response := await self._call.read()) is not None:
                self._feed(response, monotonic_nano())
                self.wake()
                while self._state.full and not self._closing:
                    self._room.clear()
                    await self._room.wait()
        except EdgeError as error:
            self._failure = error
        except Exception:
            run_id = self._state.run_id
            logger.exception("reading run %s failed", run_id or "(unnamed)", extra=log_fields(run_id=run_id))
            self._failure = EdgeError("INTERNAL")
        self._call_ended = True
        self.wake()

    def _feed(self, response: bytes, recv_nano: int) -> None:
        """Take in what a core has sent, and have the call go on elsewhere where that does not do."""
        try:
            self._state.feed(response, recv_nano)
        except StreamBrokenError as error:
            self._call.broken(error)
        if self._state.core_draining:
            self._state.core_draining = False
            self._call.move()

    async def _write(self, receive: Receive) -> Outcome:
        """Answer in two phases: a status within the commit time, then frames to the end."""
        state = self._state
        await self._until(lambda: state.waiting or self._call_ended or self._gone, self._policy.commit_s)
        if self._failure is not None and not state.waiting and not self._gone:
            await problem(self._failure, self._scope)(self._scope, receive, self._send)
            return "error"
        if not self._gone:
            await self._start()
        out = bytearray(opening(self._policy.jittered_retry_ms(self._drain.streams)))
        while not self._gone:
            self._settle()
            self._take_into(out)
            if out:
                await self._send_body(bytes(out))
                out.clear()
            if self._evicted:
                return "evicted"
            if state.terminal is not None and not state.waiting:
                await self._send_body(b"", more=False)
                return self._outcome_of(state.terminal)
            if self._drain.started:
                await self._send_body(b"", more=False)
                return "drained"
            if not state.waiting:
                await self._woken.wait()
            self._woken.clear()
        return "evicted" if self._evicted else "client_disconnect"

    def _settle(self) -> None:
        """Say what the core can't say any more: that it was lost, or that this edge is going."""
        if self._call_ended and self._state.terminal is None:
            failure = self._failure or EdgeError("UNAVAILABLE", details={"reason": "STREAM_ENDED_EARLY"})
            self._state.fail(failure, timestamp=round(time.time() * 1000, 1), trace_id=trace_id(self._scope))
        elif self._drain.started:
            self._state.reconnect(self._policy.jittered_retry_ms(self._drain.streams))

    def _take_into(self, out: bytearray) -> None:
        """Append what waits; a heartbeat when nothing does and one is due."""
        heartbeat_due, self._heartbeat_due = self._heartbeat_due and not out, False
        if self._retry_due and (self._state.waiting or heartbeat_due):
            self._retry_due = False
            self._told_spread_ms = self._policy.spread_ms(self._drain.streams)
            write_retry(out, self._policy.jittered_retry_ms(self._drain.streams))
        if self._state.waiting:
            self._state.take(out)
            self._room.set()
        elif heartbeat_due:
            out += HEARTBEAT_PING if self._policy.heartbeat == "ping" else HEARTBEAT_COMMENT

    async def _start(self) -> None:
        """Send the status and the headers, and start the clock of silence."""
        headers = [*STREAM_HEADERS]
        if self._state.run_id:
            headers.append((b"run-id", self._state.run_id.encode()))
        if parent := traceparent(self._scope):
            headers.append((b"traceparent", parent.encode()))
        if self._recorder.timing_token:
            headers.append((b"timing-token", self._recorder.timing_token.encode()))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._tick()

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        """Write whole frames; returns when the kernel has taken them."""
        self._sending_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if await self._flush():
            self._recorder.written(monotonic_nano())
        self._sending_since = None
        self._last_write = self._loop.time()
        self._sends += 1
        self._bytes += len(body)

    def _tick(self) -> None:
        """Look whether a write is stuck or the stream is silent, and when to look again.

        One timer for both, moved only when it fires: moving it at every token would cost more than
        the token.
        """
        now = self._loop.time()
        if self._sending_since is not None and now >= self._sending_since + self._policy.write_deadline_s:
            self._evict()
            return
        # Much more or fewer clients than when this one was told when to come back: it is told again.
        factor = self._policy.spread_ms(self._drain.streams) / self._told_spread_ms
        self._retry_due = not 1 / RETELL_FACTOR < factor < RETELL_FACTOR
        waits = [self._policy.write_deadline_s]
        if self._sending_since is not None:
            waits.append(self._sending_since + self._policy.write_deadline_s - now)
        elif self._policy.heartbeat != "off":
            silence_s = now - self._last_write
            if silence_s >= self._policy.heartbeat_s:
                self._write_soon()
                silence_s = 0.0
            waits.append(self._policy.heartbeat_s - silence_s)
        self._timer = self._loop.call_later(max(0.001, min(waits)), self._tick)

    def _evict(self) -> None:
        """Cut off a client that does not read: closing in good order would wait for it for ever."""
        fields = log_fields(run_id=self._state.run_id)
        text = "client of run %s does not read: cut off"
        _evictions.log(logger, logging.WARNING, text, self._state.run_id, **fields)
        self._evicted = True
        abort = (self._scope.get("extensions") or {}).get(ABORT_EXTENSION)
        if callable(abort):
            abort()
        else:
            logger.error(
                "the ASGI server has no %s: the stuck client stays connected", ABORT_EXTENSION, extra=fields
            )
        self.wake()

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when the condition holds or the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError:
            return

    def _describe(self, outcome: Outcome, waits_for: Hop) -> None:
        """Write how the stream ended into the request's span, and have its tokens told."""
        span = server_span(self._scope)
        if self._state.run_id:
            span.set_attribute(attributes.RUN_ID, self._state.run_id)
        span.set_attribute(attributes.STREAM_OUTCOME, outcome)
        span.set_attribute(attributes.STREAM_SENDS, self._sends)
        span.set_attribute(attributes.STREAM_BYTES, self._bytes)
        if self._state.resyncs:
            RESYNCS.add(self._state.resyncs)
        if self._state.unknown:
            span.set_attribute(attributes.STREAM_UNKNOWN, self._state.unknown)
        terminal = self._state.terminal
        if isinstance(terminal, events.Error):
            span.set_attribute(attributes.ERROR_TYPE, terminal.code)
            span.set_status(Status(StatusCode.ERROR, terminal.message))
        self._recorder.end(outcome, monotonic_nano(), waits_for)

    @staticmethod
    def _outcome_of(terminal: events.Done | events.Error) -> Outcome:
        if isinstance(terminal, events.Error):
            return "error"
        return "cancelled" if terminal.finish_reason == "cancelled" else "completed"


async def _at_once() -> bool:
    """Stand for a server that does not say when the kernel has taken what was sent."""
    return True
