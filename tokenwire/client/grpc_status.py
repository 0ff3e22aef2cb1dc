"""From a failed gRPC call to the client's errors."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from tokenwire.client.errors import ClientError, ConnectionLostError, RefusedError, UnreachableError

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The metadata entry that holds a google.rpc.Status.

Source: https://github.com/grpc/proposal/blob/master/G1-true-binary-metadata.md
"""

NANO: Final = 1_000_000_000

LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""How grpc itself, or a proxy, reports a connection that broke."""


def client_error(error: grpc.aio.AioRpcError, place: str, *, connected: bool, alone: bool) -> ClientError:
    """Return what a failed call means. Only a core's own refusals carry details.

    Args:
        error: As the call raised it.
        place: The core, for messages.
        connected: Whether there was a connection when the call began.
        alone: Whether there is no other core to ask.
    """
    code, text = error.code(), error.details() or ""
    packed = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if isinstance(packed, bytes):
        facts, retry_after_s = read_details(packed)
        if retry_after_s is not None and not alone:
            retry_after_s = 0.0  # it is about that core only
        return RefusedError(code.name, text, facts, retry_after_s=retry_after_s)
    if code not in LOST:
        return RefusedError(code.name, text)
    if connected:
        return ConnectionLostError(f"the connection to {place} was lost ({code.name})")
    return UnreachableError(f"Can't reach {place}.")


def read_details(packed: bytes) -> tuple[dict[str, str], float | None]:
    """Return the facts that a refusal carries, and when to ask again, in seconds.

    Args:
        packed: A google.rpc.Status.
    """
    facts: dict[str, str] = {}
    retry_after_s: float | None = None
    try:
        details = status_pb2.Status.FromString(packed).details
    except DecodeError:
        return facts, None  # a proxy's: no core sends such bytes
    for detail in details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            facts |= {"reason": info.reason, **info.metadata}
        elif detail.Unpack(bad_request):
            facts |= {violation.field: violation.description for violation in bad_request.field_violations}
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / NANO
    return facts, retry_after_s
