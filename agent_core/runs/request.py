"""What a request to start a run asks for, and why it is refused."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from agent_core.errors import (
    CoreFullError,
    CoreLogAwayError,
    PrincipalFullError,
    RequestIdReusedError,
    SessionHasRunError,
)
from agent_core.log.contract import LogFullError, PrincipalLogFullError, RunRecord, SessionBusyError
from agent_core.runs.writer import LogRefusedError
from tokenwire.principal import owned_key
from tokenwire.v1.run_pb2 import OnDisconnect, RunSpec


def fingerprint(spec: RunSpec) -> bytes:
    """Return a hash of what a request asks for: equal requests have equal ones."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()


def record_of(  # noqa: PLR0913, PLR0917 # a record is what it is made of
    spec: RunSpec,
    run_id: str,
    agent: str,
    owner: str,
    on_disconnect: OnDisconnect.ValueType,
    core: str,
) -> RunRecord:
    """Return the record of the run that a request asks for, made now.

    Args:
        spec: What the caller wants.
        run_id: The new run's.
        agent: The agent's name.
        owner: The principal that asks.
        on_disconnect: Holds where the spec leaves it open.
        core: Who writes it; empty where no other core could.
    """
    return RunRecord(
        run_id=run_id,
        session_id=spec.session_id,
        agent=agent,
        on_disconnect=spec.on_disconnect or on_disconnect,
        create_unix_nano=time.time_ns(),
        owner=owner,
        # Each principal has request ids of its own.
        request_key=owned_key(owner, spec.request_id) if spec.request_id else "",
        fingerprint=fingerprint(spec) if spec.request_id else b"",
        core=core,
        message=spec.message,
    )


def same_request(standing: RunRecord, record: RunRecord) -> str:
    """Return the id of the run that stands for a request.

    Raises:
        RequestIdReusedError: It was started by another request.
    """
    if standing.fingerprint != record.fingerprint:
        raise RequestIdReusedError(standing.run_id)
    return standing.run_id


def deadline_of(spec: RunSpec, call_deadline: float | None, run_timeout_s: float) -> float:
    """Return when a run must have ended, in seconds of the monotonic clock: the soonest of three.

    Args:
        spec: What the caller wants, with the run's own timeout or none.
        call_deadline: When the call must have ended; None for never.
        run_timeout_s: The longest time that any run may take.
    """
    limit_s = run_timeout_s
    if spec.HasField("timeout"):
        limit_s = min(limit_s, spec.timeout.ToTimedelta().total_seconds())
    deadline = time.monotonic() + limit_s
    return deadline if call_deadline is None else min(deadline, call_deadline)


@contextmanager
def refusals() -> Iterator[None]:
    """Say why a run could not be begun, as a caller is to hear it.

    Raises:
        PrincipalFullError: The log has no room for another run of this principal.
        CoreFullError: It has none for another run at all.
        SessionHasRunError: Another run of the session goes on.
        CoreLogAwayError: The log does not take the run's beginning.
    """
    try:
        yield
    except PrincipalLogFullError as error:
        raise PrincipalFullError from error
    except LogFullError as error:
        raise CoreFullError from error
    except SessionBusyError as error:
        raise SessionHasRunError(error.run_id) from error
    except LogRefusedError as error:
        raise CoreLogAwayError from error
