"""What the edge writes into the spans of its calls to the core."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from tokenwire.telemetry import tracer
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
)

SERVICE: Final = "tokenwire.v1.AgentService"

RECONNECT: Final = "reconnect"


def rpc_client(method: str, host: str, port: int | None) -> dict[str, str | int]:
    """Return the attributes with which an rpc CLIENT span starts.

    Args:
        method: The rpc's bare name.
        host: The core's host, or the path of its Unix socket.
        port: The core's port; None for a Unix socket.
    """
    return {
        RPC_SYSTEM_NAME: "grpc",
        RPC_METHOD: f"{SERVICE}/{method}",
        SERVER_ADDRESS: host,
        **({SERVER_PORT: port} if port is not None else {}),
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
