"""From a failed gRPC call to an UpstreamError."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from edge.errors import CORE_AWAY, UpstreamError
from tokenwire.outage import Repeats
from tokenwire.reasons import Reason
from tokenwire.v1 import event_pb2

DOMAIN: Final = "tokenwire"
"""ErrorInfo's domain of refusals whose message is fit for a user."""

_DETAILS_KEY: Final = "grpc-status-details-bin"

logger = logging.getLogger(__name__)

_clock_lines = Repeats()
_stranger_lines = Repeats()
"""Each core is asked each second, and says so each time."""


def upstream_error(error: grpc.aio.AioRpcError) -> UpstreamError:
    """Return what a client may know of a failed call.

    A core's own refusals carry an ErrorInfo of its domain, and their message is passed on. What gRPC
    itself reports (addresses, socket errors) goes to the log, and the client gets the code's usual words.

    Args:
        error: As the call raised it.
    """
    code = error.code().name
    status = _rich_status(error)
    details: dict[str, str] = {}
    retry_after_s: float | None = None
    own = False
    for packed in status.details:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if packed.Unpack(info):
            own = info.domain == DOMAIN
            details |= {"reason": info.reason, **info.metadata}
        elif packed.Unpack(bad_request) and bad_request.field_violations:
            violation = bad_request.field_violations[0]
            details |= {"field": violation.field, "violation": violation.description}
        elif packed.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    if own or code == "UNAUTHENTICATED":
        return _refusal(code, status.message, details, retry_after_s)
    return _not_answered(code, error.details())


def link_error(error: event_pb2.Error) -> UpstreamError:
    """Return what a client may know of a follow of a link that can't be served: the same as of a call.

    Args:
        error: The core's.
    """
    details = dict(error.details)
    if "reason" not in details and error.code != "UNAUTHENTICATED":
        return _not_answered(error.code, error.message)
    retry_after_ms = details.pop("retry_after_ms", "")
    retry_after_s = int(retry_after_ms) / 1000 if retry_after_ms.isdecimal() else None
    return _refusal(error.code, error.message, details, retry_after_s)


def _refusal(
    code: str, message: str, details: Mapping[str, str], retry_after_s: float | None
) -> UpstreamError:
    """Return what a client may know of a core's own refusal."""
    if code == "UNAUTHENTICATED":
        return _not_accepted(details)
    if "field" in details:
        details = {**details, "field": _json_name(details["field"])}
    return UpstreamError(code, message, details=details, retry_after_s=retry_after_s)


def _not_answered(code: str, text: str | None) -> UpstreamError:
    """Return what a client may know of a failure that gRPC itself reports, and log what it reports."""
    # That a core is away is said once, by those who watch it, and not for each call.
    level = logging.DEBUG if code in CORE_AWAY or code == "CANCELLED" else logging.WARNING
    logger.log(level, "call to the core failed: %s: %s", code, text)
    # CANCELLED: not by this edge, which would not read the answer: by a core that went down over it.
    return UpstreamError("UNAVAILABLE" if code == "CANCELLED" else code)


def _not_accepted(details: Mapping[str, str]) -> UpstreamError:
    """Return what a client may know of a core that does not accept this edge, and tell the operator why.

    The client has proven itself here: asking it for another key would be wrong.
    """
    if details.get("reason") == Reason.CLOCK_SKEW:
        _clock_lines.log(
            logger,
            logging.ERROR,
            "the core refuses this edge's calls: the clocks of the two machines differ. This one is about "
            "%s s ahead (behind, if negative): set both by NTP",
            details.get("caller_ahead_s", "?"),
        )
        # Clocks are set, and other cores have other ones.
        return UpstreamError("UNAVAILABLE", details={"reason": Reason.CLOCK_SKEW})
    _stranger_lines.log(
        logger,
        logging.ERROR,
        "the core does not accept this edge: see TOKENWIRE_PRINCIPAL_KEY and TOKENWIRE_CORE_TLS_*",
    )
    return UpstreamError("INTERNAL")


def _json_name(field: str) -> str:
    """Return a field of a RunSpec as the request's JSON calls it: `run.session_id` is `sessionId`."""
    first, *rest = field.removeprefix("run.").split("_")
    return first + "".join(word.capitalize() for word in rest)


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the google.rpc.Status that a failed call carries; an empty one where there is none."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                logger.warning("the core's status details can't be read")
    return status
