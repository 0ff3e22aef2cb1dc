"""What the edge writes into the spans of its calls to the core."""

from __future__ import annotations

import enum
from typing import Final, Literal, TypeAlias

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from tokenwire.telemetry import discard, tracer
from tokenwire.telemetry.attributes import (
    CANCELLED,
    ERROR_TYPE,
    RECONNECT_ATTEMPTS,
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
    RUN_ID,
    SERVER_ADDRESS,
    SERVER_PORT,
    TRANSPORT,
)

SERVICE: Final = "tokenwire.v1.AgentService"

RECONNECT: Final = "reconnect"

Transport: TypeAlias = Literal["link", "call"]
"""What carries a run from a core to this edge."""


def rpc_client(
    method: str, host: str, port: int | None, transport: Transport | None = None
) -> dict[str, str | int]:
    """Return the attributes with which an rpc CLIENT span starts.

    Args:
        method: The rpc's bare name.
        host: The core's host, or the path of its Unix socket.
        port: The core's port; None for a Unix socket.
        transport: What carries the run that it streams; None if it streams none.
    """
    return {
        RPC_SYSTEM_NAME: "grpc",
        RPC_METHOD: f"{SERVICE}/{method}",
        SERVER_ADDRESS: host,
        **({SERVER_PORT: port} if port is not None else {}),
        **({TRANSPORT: transport} if transport is not None else {}),
    }


def set_rpc_outcome(span: Span, code: str) -> None:
    """Write how a call ended. That the edge itself cancelled it is no error: its client had left.

    Args:
        span: The CLIENT span.
        code: The canonical gRPC code's name.
    """
    span.set_attribute(RPC_RESPONSE_STATUS_CODE, code)
    if code not in {"OK", "CANCELLED"}:
        span.set_attribute(ERROR_TYPE, code)
        span.set_status(Status(StatusCode.ERROR))


class Attempt(enum.Enum):
    """What the span of a start or a follow that brings no message is worth.

    A reconnect makes many of them, and has a span of its own.
    """

    FIRST = "first"
    """As much as that of any rpc."""
    AGAIN = "again"
    """Nothing, unless the core has answered: then its own span stands below it."""
    UNSEEN = "unseen"
    """Nothing. The core was there and could not serve the last one: it makes no span of this one."""


class StreamSpan:
    """The CLIENT span of one start or follow.

    Args:
        span: The span, started.
        attempt: What it is worth if nothing comes.
    """

    __slots__ = ("_attempt", "_span", "context")

    def __init__(self, span: Span, attempt: Attempt) -> None:
        self.context = span.get_span_context()
        """Names the span."""
        self._span = span
        self._attempt = attempt

    def heard(self) -> None:
        """Take note that a message has come: the span is like any other."""
        self._attempt = Attempt.FIRST

    def discard(self) -> None:
        """End the span and do not export it: nothing was asked."""
        discard(self._span)

    def end(self, code: str, *, answered: bool = False) -> None:
        """End the span, unless it has ended.

        Args:
            code: How the stream ended, as the name of a canonical gRPC code.
            answered: Whether the core has said so.
        """
        if not self._span.is_recording():
            return
        if self._attempt is Attempt.UNSEEN or (self._attempt is Attempt.AGAIN and not answered):
            discard(self._span)
            return
        set_rpc_outcome(self._span, code)
        self._span.end()


class ReconnectSpan:
    """The span of a broken stream, from when it broke until the run is followed again or given up.

    One for all attempts: a core that is away for five seconds costs each of its streams a dozen.

    Args:
        context: The trace context of the request.
        run_id: The run.
        start_unix_nano: When it broke.
    """

    def __init__(self, context: Context, run_id: str, start_unix_nano: int) -> None:
        self.attempts = 0
        """How many calls were made."""
        self._span = tracer().start_span(
            RECONNECT, context, SpanKind.CLIENT, {RUN_ID: run_id}, start_time=start_unix_nano
        )
        self.context = self._span.get_span_context()
        """Names the span."""

    def succeeded(self) -> None:
        """End the span: a call has brought a message."""
        self._end()

    def failed(self, code: str) -> None:
        """End the span: it is given up.

        Args:
            code: Why, as the name of a canonical gRPC code.
        """
        self._span.set_attribute(ERROR_TYPE, code)
        self._span.set_status(Status(StatusCode.ERROR))
        self._end()

    def cancelled(self) -> None:
        """End the span: nobody wants the stream any more. That is no error."""
        self._span.set_attribute(CANCELLED, True)
        self._end()

    def _end(self) -> None:
        self._span.set_attribute(RECONNECT_ATTEMPTS, self.attempts)
        self._span.end()
