"""A failed call: its code, the details from the core, and whether to try again."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

MAY_PASS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
"""Failures of the transport: a broken connection, a proxy without a backend."""


def details_of(error: Exception) -> list[Message]:
    """Return the details of google.rpc.Status that we know. The transport's own failures have none."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    return [
        known
        for detail in (status.details if status else ())
        for known in (ErrorInfo(), BadRequest(), RetryInfo())
        if detail.Unpack(known)
    ]


def retry_after_s(error: Exception) -> float:
    """Return the delay that the core asks for, in seconds; 0 for none."""
    asked = (each for each in details_of(error) if isinstance(each, RetryInfo))
    return next((each.retry_delay.ToTimedelta().total_seconds() for each in asked), 0.0)


def is_refusal(error: Exception) -> bool:
    """Return whether the core itself refused the call for good: with details, and without RetryInfo."""
    return bool(details_of(error)) and not retry_after_s(error)


def is_final(error: Exception) -> bool:
    """Return whether a call that failed would fail again."""
    if not isinstance(error, grpc.Call):
        return False  # a stream that ended before the run
    return is_refusal(error) or not (details_of(error) or error.code() in MAY_PASS)


def code_of(error: Exception) -> str:
    """Return the name of the code of a call that failed."""
    return error.code().name if isinstance(error, grpc.Call) else "UNAVAILABLE"


def describe(error: Exception) -> Iterator[str]:
    """Yield the error as readable lines."""
    details = details_of(error)
    reason = "".join(f" [{each.reason}]" for each in details if isinstance(each, ErrorInfo))
    message = error.details() if isinstance(error, grpc.Call) else error
    yield f"{code_of(error)}: {message}{reason}"
    for each in details:
        if isinstance(each, ErrorInfo):
            yield from (f"  {name}: {value}" for name, value in sorted(each.metadata.items()))
        elif isinstance(each, BadRequest):
            yield from (f"  {wrong.field}: {wrong.description}" for wrong in each.field_violations)
        elif isinstance(each, RetryInfo):
            yield f"  retry after {each.retry_delay.ToMilliseconds()} ms"
