"""One HTTP/1.1 connection: what a client may send before it is known who it is, and how long it may take.

uvicorn's protocol bounds neither the size of headers nor the time that a request takes, and does not notice
that a client has left once that client pipelines: it stops reading. This one feeds the parser in small
pieces, counts what the application was not yet given, and goes on reading while a response runs.

    waiting ──▶ head ──▶ body ──▶ serving ──▶ waiting …      each but `serving` has a time limit

While a response runs no timer does: a stream may last for hours.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Literal, TypeAlias

import httptools

from edge.http.connection_limits import ConnectionLimits, RefusedError
from edge.http.extensions import (
    ABORT_EXTENSION,
    ARRIVED_EXTENSION,
    PROBE_EXTENSION,
    WRITER_EXTENSION,
)
from edge.http.half_close import HalfClose
from edge.http.other_versions import answer_without_chunks, check_version, head_without_upgrade
from edge.http.problem import raw_problem
from edge.http.writing_protocol import WritingProtocol
from tokenwire.numbers import plain_number
from tokenwire.telemetry import monotonic_nano

PIECE_BYTES: Final = 4 * 1024
"""How much the parser is fed at a time. It says nothing of a header before its end, so what it holds is
counted outside of it, and may be more than the limit by this much."""

MAX_HEADER_LINES: Final = 100
"""As in Envoy and Apache: what came through one of them has no more."""

LINGER_S: Final = 2.0
"""How long a client that was refused is still read from. Closing at once would reset the connection, and the
client might never see the answer.

Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
"""

LINGER_BYTES: Final = 16 * 1024 * 1024
"""How much is read from it, and thrown away, within that time."""

Phase: TypeAlias = Literal["waiting", "head", "body", "rest", "serving"]
"""What the client has to do next: send a request, its headers, its body, the rest of a body that the answer
did not need; or nothing, because its request is being served."""

logger = logging.getLogger(__name__)


class StreamProtocol(WritingProtocol):
    """HTTP/1.1 that bounds what it reads, feels a slow client early, and can cut one off.

    Args:
        limits: What the connection may do.
        arguments: uvicorn's.
    """

    # With all of these in its dict, that has 1,600 bytes instead of 300.
    __slots__ = (
        "_behind",
        "_discarded_bytes",
        "_half_close",
        "_head_bytes",
        "_held_bytes",
        "_in_body",
        "_in_head",
        "_limits",
        "_lingering",
        "_timed",
        "_timer",
    )

    def __init__(self, *, limits: ConnectionLimits, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.url = b""  # uvicorn sets it with the first request line
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._timed: Phase = "serving"
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._held_bytes = 0  # read since the application was last given something
        self._behind = bytearray()  # came behind the running request; not parsed
        self._lingering = False
        self._discarded_bytes = 0

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: the client may stay silent."""
        super().connection_made(transport)
        self._half_close = HalfClose(transport, self.loop)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that goes on."""
        self._stop_timer()
        self._half_close.stop()
        self._limits.idle.discard(self)
        self.pipeline.clear()
        self._behind.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what comes, unless a request is being served: then it waits."""
        if self._lingering:
            self._discard(len(data))
        elif self._is_serving:
            self._put_behind(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether to stay connected: a client that has ended its own side gets the answer that runs.

        Whether it is still there to read it, `HalfClose` finds out.
        """
        if self._lingering or not self._is_serving:
            return False
        if self._running is not None and not (self._behind or self.pipeline):
            self._running.keep_alive = False
        self._half_close.end()
        return True

    def shutdown(self) -> None:
        """Close the connection, after the response that runs."""
        if self._running is not None and not self._running.response_complete:
            self._running.keep_alive = False
        else:
            self.transport.close()

    def close_idle(self) -> None:
        """Close the connection to make room for others."""
        self._disconnect_running()
        self.transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin to count, and let the request's handler cut the connection."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        # Closing would first send what waits.
        extensions: dict[str, Any] = {
            ABORT_EXTENSION: self.transport.abort,
            ARRIVED_EXTENSION: monotonic_nano(),
            PROBE_EXTENSION: self._half_close.probe_with,
            WRITER_EXTENSION: self.open_writer,
        }
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Count a piece of the request line."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header. A trailer, behind the body, is no header of the request and is dropped."""
        if self._in_body:
            return
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADER_LINES:
            raise RefusedError(431, f"The request has more than {MAX_HEADER_LINES} header lines.")

    def on_headers_complete(self) -> None:
        """Start to serve the request, if its head is as it must be."""
        self._in_head, self._held_bytes = False, 0
        if self._head_bytes > self._limits.header_bytes:
            raise self._too_large()
        check_version(self.parser.get_http_version())
        self._check_host()
        if self.parser.should_upgrade():
            # The parser takes what follows for another protocol's. `_feed` has the head parsed once more.
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(501, "This server is not a proxy.")
            return
        self._in_body = True
        super().on_headers_complete()
        if self.cycle.scope["http_version"] == "1.0":
            answer_without_chunks(self.cycle)
        # uvicorn stops reading for a request that has to wait, and then does not notice a client that leaves.
        self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Give a piece of the body to the application."""
        self._held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._held_bytes = 0
        if self._in_body:
            self._in_body = False
            super().on_message_complete()

    # What a response calls.

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the timer here does that too
        self._half_close.stop()
        if self.transport.is_closing():
            return
        waiting, self._behind = bytes(self._behind), bytearray()
        if self._is_serving:
            self._put_behind(waiting)
        else:
            self._feed(waiting)
        if self._half_close.has_ended and not self._is_serving:
            self.transport.close()  # no other request comes

    # How it goes on.

    @property
    def _is_serving(self) -> bool:
        """Whether a whole request is being served: what comes now belongs to a later one."""
        running = self._running
        return running is not None and not running.response_complete and not running.more_body

    @property
    def _phase(self) -> Phase:
        if self._is_serving:
            return "serving"
        if self._in_head:
            return "head"
        if not self._in_body:
            return "waiting"
        return "rest" if self._running is not None and self._running.response_complete else "body"

    def _feed(self, data: bytes) -> None:
        """Parse as much as does not have to wait."""
        view = memoryview(data)
        while view:
            if self._is_serving:
                self._put_behind(view)
                break
            piece = view[:PIECE_BYTES]
            self._held_bytes += len(piece)
            try:
                view = view[self._parse(piece) :]
            except httptools.HttpParserError as error:
                self._refuse(error.__context__)
                return
            if self._held_bytes > self._limits.header_bytes:
                self._refuse(self._too_large())
                return
        self._settle()

    def _parse(self, piece: memoryview) -> int:
        """Parse a piece; return how many bytes of it were taken.

        Raises:
            HttpParserError: It is not HTTP, or (then its context says so) it was refused.
        """
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            head = head_without_upgrade(self.parser, self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(head)
            taken: int = upgrade.args[0]
            return taken
        return len(piece)

    def _put_behind(self, data: bytes | memoryview) -> None:
        """Keep what came behind a running request: no more than one whole request, or none of it.

        Reading goes on in any case, and what is not kept is thrown away: only so the server notices that the
        client has left.
        """
        running = self._running
        if running is None or not running.keep_alive:
            return  # the connection closes after the response
        self._behind += data
        if len(self._behind) > self._limits.header_bytes + self._limits.body_bytes:
            running.keep_alive = False
            self._behind.clear()

    def _check_host(self) -> None:
        """Refuse a request that does not say in one way for which host it is.

        Source: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
        """
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise RefusedError(400, "The request must have exactly one Host header.")

    def _too_large(self) -> RefusedError:
        most = f"{self._limits.header_bytes} bytes (TOKENWIRE_MAX_HEADER_BYTES)"
        if not self._in_body and len(self.url) * 2 > self._limits.header_bytes:
            return RefusedError(414, f"The URL and the headers exceed {most}.")
        return RefusedError(431, f"The headers exceed {most}.")

    # Timers and ends.

    def _settle(self) -> None:
        """Have the timer and the count of idle connections agree with the phase."""
        phase = self._phase
        if phase == "serving":
            self._limits.idle.discard(self)
        else:
            self._limits.idle.add(self)
        if phase != self._timed:
            self._timed = phase
            self._stop_timer()
            if phase != "serving" and not self.transport.is_closing():
                self._timer = self.loop.call_later(self._seconds_for(phase), self._on_timeout)

    def _seconds_for(self, phase: Phase) -> float:
        """Return how long the client may stay in a phase."""
        if phase == "rest":
            return LINGER_S
        if phase == "waiting" and self._running is not None:
            return self._limits.keep_alive_s
        return self._limits.request_timeout_s

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        """Close the connection of a client that is too slow; say so where it began a request."""
        self._timer = None
        most_s = f"{plain_number(self._limits.request_timeout_s)} s (TOKENWIRE_REQUEST_TIMEOUT_S)"
        if self._lingering:
            self.transport.abort()
        elif self._timed == "head":
            self._refuse(RefusedError(408, f"The headers were not complete within {most_s}."))
        elif self._timed == "body" and self._running is not None and self._running.response_started:
            self._running.keep_alive = False  # it needs no body, and goes on to its end
        elif self._timed == "body":
            self._refuse(RefusedError(408, f"The body was not complete within {most_s}."))
        else:
            self.transport.close()

    def _refuse(self, reason: BaseException | None) -> None:
        """Answer with a problem document and close the connection.

        Args:
            reason: What was raised; anything but a `RefusedError` means that the request is not HTTP.
        """
        if not isinstance(reason, RefusedError):
            logger.debug("not HTTP", exc_info=reason)
            reason = RefusedError(400, "The request is not HTTP/1.1.")
        running = self._running
        if self._is_serving and running is not None:
            running.keep_alive = False  # what was refused is a later request, and goes unanswered
            self._settle()
            return
        answered = self._in_body and running is not None and running.response_started
        self._disconnect_running()
        if answered:
            self.transport.close()  # a request gets one response
            return
        self.transport.write(raw_problem(reason.error, reason.status, self.server_state.default_headers))
        self._linger()

    def _linger(self) -> None:
        """Close the connection once the client has read the answer, or soon."""
        self._lingering = True
        self._stop_timer()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self._on_timeout)

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.abort()
