"""What a failed gRPC call means to the client."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from tokenwire.client import ConnectionLostError, RefusedError, UnreachableError
from tokenwire.client.grpc_status import DETAILS_KEY, client_error, read_details

INFO = error_details_pb2.ErrorInfo(reason="SESSION_BUSY", domain="tokenwire", metadata={"run_id": "r"})
RETRY = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
BAD = error_details_pb2.BadRequest(
    field_violations=[
        error_details_pb2.BadRequest.FieldViolation(field="run.message", description="is empty")
    ]
)


def packed(*details: Message) -> bytes:
    """Return a google.rpc.Status with these details."""
    status = status_pb2.Status()
    for detail in details:
        into = Packed()
        into.Pack(detail)
        status.details.append(into)
    return status.SerializeToString()


def failure(code: grpc.StatusCode, *details: Message) -> AioRpcError:
    """Return a call's failure."""
    metadata = Metadata((DETAILS_KEY, packed(*details))) if details else Metadata()
    return AioRpcError(code, Metadata(), metadata, "Words.")


def test_a_cores_refusal_is_read_whole() -> None:
    """The reason, the facts, the fields, and when to ask again."""
    assert read_details(packed(INFO, BAD, RETRY)) == (
        {"reason": "SESSION_BUSY", "run_id": "r", "run.message": "is empty"},
        1.5,
    )
    error = client_error(failure(grpc.StatusCode.ABORTED, INFO, RETRY), "x", connected=True, alone=True)
    assert isinstance(error, RefusedError)
    assert (error.code, error.message, error.reason, error.retry_after_s) == (
        "ABORTED",
        "Words.",
        "SESSION_BUSY",
        1.5,
    )


def test_with_another_core_to_ask_nothing_is_waited_for() -> None:
    """What a core says of itself is not about the next one."""
    error = client_error(failure(grpc.StatusCode.UNAVAILABLE, INFO, RETRY), "x", connected=True, alone=False)
    assert isinstance(error, RefusedError)
    assert error.retry_after_s == 0


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN"])
def test_without_details_the_connection_broke_or_never_was(code: str) -> None:
    """It is grpc, or a proxy, that says so."""
    error = failure(grpc.StatusCode[code])
    assert isinstance(client_error(error, "x", connected=True, alone=True), ConnectionLostError)
    assert isinstance(client_error(error, "x", connected=False, alone=True), UnreachableError)


def test_any_other_code_is_final() -> None:
    """A request that is too large, for example, which gRPC itself refuses."""
    error = client_error(failure(grpc.StatusCode.RESOURCE_EXHAUSTED), "x", connected=True, alone=True)
    assert isinstance(error, RefusedError)
    assert not error.retryable


def test_details_that_can_not_be_read_say_nothing() -> None:
    """They are not a core's."""
    assert read_details(b"\xff") == ({}, None)
