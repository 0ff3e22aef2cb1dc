"""Attribute names and the few rules that go with them.

Source: https://opentelemetry.io/docs/specs/semconv/ (1.44: HTTP stable, RPC release candidate)
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

SERVICE: Final = "tokenwire.v1.AgentService"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
"""Renamed on the conventions' main branch: change it here when a release has the new name."""

RUN_ID: Final = "tokenwire.run.id"
STREAM_OUTCOME: Final = "tokenwire.stream.outcome"
"""How an SSE response ended: completed, cancelled, error, client_disconnect, evicted or drained."""

STREAM_SENDS: Final = "tokenwire.stream.sends"
STREAM_BYTES: Final = "tokenwire.stream.bytes"


def rpc_client(method: str, host: str, port: str) -> dict[str, str | int]:
    """Return the attributes with which an rpc CLIENT span starts.

    Args:
        method: The rpc's bare name.
        host: The core's host.
        port: The core's port.
    """
    return {
        RPC_SYSTEM_NAME: "grpc",
        RPC_METHOD: f"{SERVICE}/{method}",
        SERVER_ADDRESS: host,
        SERVER_PORT: int(port),
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
