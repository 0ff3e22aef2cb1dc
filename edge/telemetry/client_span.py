"""What the edge writes into the spans of its calls to the core."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from tokenwire.telemetry.attributes import (
    ERROR_TYPE,
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)

SERVICE: Final = "tokenwire.v1.AgentService"


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
