"""What a failed call to a core means for a client."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from edge.upstream.status import upstream_error


def failed(code: grpc.StatusCode, domain: str = "") -> grpc.aio.AioRpcError:
    """Return a failed call: with a refusal of a core's own, where a domain is given."""
    trailing = grpc.aio.Metadata()
    if domain:
        info = Any()
        info.Pack(error_details_pb2.ErrorInfo(domain=domain, reason="BECAUSE"))
        status = status_pb2.Status(code=code.value[0], message="As it is.", details=[info])
        trailing.add("grpc-status-details-bin", status.SerializeToString())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="10.1.2.3: secret")


def test_a_call_that_its_core_has_cancelled_is_to_be_repeated() -> None:
    """A core that goes down cancels what it has not answered: the client has done nothing."""
    error = upstream_error(failed(grpc.StatusCode.CANCELLED))
    assert (error.code, error.retryable) == ("UNAVAILABLE", True)


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.NOT_FOUND])
def test_a_refusal_of_a_cores_own_is_passed_on(code: grpc.StatusCode) -> None:
    """With its words and its reason, which are fit for a user."""
    error = upstream_error(failed(code, "tokenwire"))
    assert (error.code, error.message, error.details) == (code.name, "As it is.", {"reason": "BECAUSE"})


def test_what_grpc_itself_reports_reaches_no_client() -> None:
    """It names addresses."""
    error = upstream_error(failed(grpc.StatusCode.UNAVAILABLE))
    assert "secret" not in f"{error.message}{error.details}"
