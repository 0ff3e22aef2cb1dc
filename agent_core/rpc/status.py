"""Refusals as google.rpc.Status, the error model that every gRPC library can read.

Source: https://google.aip.dev/193
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from agent_core.errors import RefusalError
from agent_core.log.encoding import NANO

DOMAIN: Final = "tokenwire"
"""ErrorInfo's domain."""


def grpc_status(refusal: RefusalError, request_id: str) -> grpc.Status:
    """Return the status that a call is ended with, with ErrorInfo, RequestInfo and what else applies.

    Args:
        refusal: Why it is ended.
        request_id: What the log knows the call by.
    """
    status = status_pb2.Status(code=code_pb2.Code.Value(refusal.code), message=refusal.message)
    status.details.append(
        _packed(error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=refusal.metadata))
    )
    status.details.append(_packed(error_details_pb2.RequestInfo(request_id=request_id)))
    if refusal.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in refusal.violations:
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        status.details.append(_packed(bad_request))
    if refusal.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        seconds, nanos = divmod(round(refusal.retry_after_s * NANO), NANO)
        retry.retry_delay.seconds, retry.retry_delay.nanos = seconds, nanos
        status.details.append(_packed(retry))
    packed: grpc.Status = rpc_status.to_status(status)
    return packed


def _packed(message: Message) -> AnyMessage:
    """Return a message in an Any."""
    packed = AnyMessage()
    packed.Pack(message)
    return packed
