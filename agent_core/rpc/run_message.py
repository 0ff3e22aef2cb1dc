"""A run's state as the contract says it."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from agent_core.log.encoding import NANO
from agent_core.log.records import RunInfo
from agent_core.rpc.responses import cursor_of
from tokenwire.v1.run_pb2 import (
    RUN_STATE_CANCELLING,
    RUN_STATE_ENDED,
    RUN_STATE_RUNNING,
    RUN_STATE_WAITING,
    FinishOutcome,
    Run,
    RunState,
)


def run_message(info: RunInfo, *, stopping: bool, waiting: bool = False, message: str = "") -> Run:
    """Return what is known of a run.

    Args:
        info: What the log knows.
        stopping: The agent was told to stop.
        waiting: The agent waits for a person.
        message: What the user said; empty where that is not asked for.
    """
    record, outcome = info.record, info.outcome
    run = Run(
        run_id=record.run_id,
        session_id=record.session_id,
        agent=record.agent,
        state=_live_state(stopping=stopping, waiting=waiting),
        on_disconnect=record.on_disconnect,
        first=cursor_of(info.first),
        last=cursor_of(info.last),
        create_time=_timestamp(record.create_unix_nano),
        message=message,
    )
    if outcome is not None:
        run.state = RUN_STATE_ENDED
        run.end_time.CopyFrom(_timestamp(info.end_unix_nano))
        run.expire_time.CopyFrom(_timestamp(info.expire_unix_nano))
        run.outcome.CopyFrom(FinishOutcome(event=outcome.event, reason=outcome.reason))
    return run


def _live_state(*, stopping: bool, waiting: bool) -> RunState.ValueType:
    """Return the state of a run that has not ended."""
    if stopping:
        return RUN_STATE_CANCELLING
    return RUN_STATE_WAITING if waiting else RUN_STATE_RUNNING


def _timestamp(unix_nano: int) -> Timestamp:
    """Return Unix time in nanoseconds as a Timestamp."""
    seconds, nanos = divmod(unix_nano, NANO)
    return Timestamp(seconds=seconds, nanos=nanos)
