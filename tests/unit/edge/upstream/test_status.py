"""What a failed call to a core means for a client."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from edge.upstream import status
from edge.upstream.status import link_error, upstream_error
from tokenwire.outage import Repeats
from tokenwire.v1.event_pb2 import Error


def failed(code: grpc.StatusCode, domain: str = "", reason: str = "BECAUSE") -> grpc.aio.AioRpcError:
    """Return a failed call: with a refusal of a core's own, where a domain is given."""
    trailing = grpc.aio.Metadata()
    if domain:
        info = Any()
        info.Pack(error_details_pb2.ErrorInfo(domain=domain, reason=reason))
        rich = status_pb2.Status(code=code.value[0], message="As it is.", details=[info])
        trailing.add("grpc-status-details-bin", rich.SerializeToString())
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


def test_a_core_that_refuses_this_edge_is_not_the_clients_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong key stays wrong; clocks get set. Said once a minute, not once a call."""
    monkeypatch.setattr(status, "_clock_lines", Repeats())
    monkeypatch.setattr(status, "_stranger_lines", Repeats())
    for _ in range(3):
        stranger = upstream_error(failed(grpc.StatusCode.UNAUTHENTICATED, "tokenwire"))
        skewed = upstream_error(failed(grpc.StatusCode.UNAUTHENTICATED, "tokenwire", "CLOCK_SKEW"))
        assert (stranger.code, stranger.retryable, stranger.details) == ("INTERNAL", False, {})
        assert (skewed.code, skewed.retryable) == ("UNAVAILABLE", True)
        assert skewed.details == {"reason": "CLOCK_SKEW"}
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 2
    assert "TOKENWIRE_PRINCIPAL_KEY" in told[0]
    assert "clocks" in told[1]


def test_a_refusal_over_a_link_is_the_same_as_over_a_call() -> None:
    """What a call says in three messages stands in one map."""
    details = {"reason": "LIMIT", "limit": "5", "field": "run.session_id", "violation": "no"}
    refused = link_error(
        Error(code="RESOURCE_EXHAUSTED", message="As it is.", details={**details, "retry_after_ms": "250"})
    )
    assert (refused.code, refused.message, refused.retry_after_s) == ("RESOURCE_EXHAUSTED", "As it is.", 0.25)
    assert refused.details == {**details, "field": "sessionId"}


def test_a_failure_over_a_link_that_gives_no_reason_reaches_no_client() -> None:
    """It is not meant for one; that the core does not accept this edge is not its fault, either."""
    failed = link_error(Error(code="CANCELLED", message="10.1.2.3: secret"))
    stranger = link_error(Error(code="UNAUTHENTICATED", message="no", details={"reason": "TOKEN_EXPIRED"}))
    assert (failed.code, failed.retryable, failed.details) == ("UNAVAILABLE", True, {})
    assert "secret" not in failed.message
    assert (stranger.code, stranger.details) == ("INTERNAL", {})
