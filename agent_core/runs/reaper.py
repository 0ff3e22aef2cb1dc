"""Closes runs that their core has lost or given up, and waits for agents that did not stop with theirs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from opentelemetry.trace import SpanContext

from agent_core.log.contract import (
    FIRST_EPOCH,
    START,
    Appended,
    AppendStatus,
    LogAwayError,
    LogGoneError,
    Position,
    RunLog,
)
from agent_core.log.encoding import encode_payload, new_event
from agent_core.log.outcome import Outcome
from agent_core.runs.agent_thread import AgentThread
from agent_core.runs.failures import PRODUCER_LOST
from agent_core.telemetry.run_span import write_lost_run_span
from tokenwire.logs import log_fields
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.trace_ids import trace_id_of
from tokenwire.telemetry.traceparent import parse_traceparent
from tokenwire.v1.event_pb2 import Event

RETRY_S: Final = 1.0
"""How often it is tried while the log is away."""

STOP_AGENTS_S: Final = 1.0
"""How long the core waits, at its own end, for agents that did not stop when their runs ended."""

logger = logging.getLogger(__name__)


class Reaper:
    """Closes runs that this core has given up, and keeps agents that outlive their runs.

    Args:
        log: The store.
    """

    def __init__(self, log: RunLog) -> None:
        self.unstopped_agents: set[asyncio.Task[None]] = set()
        """Tasks of agents that did not stop though their runs have ended."""
        self._log = log
        self._reaping: set[asyncio.Task[None]] = set()

    def reap(self, run_id: str) -> None:
        """Close a run as soon as the log takes its end: its followers wait for it."""
        reaping = asyncio.create_task(reap_when_possible(self._log, run_id))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)

    def keep(self, agent: asyncio.Task[None]) -> None:
        """Keep the task of an agent that did not stop, until it does."""
        self.unstopped_agents.add(agent)
        agent.add_done_callback(self._agent_stopped)

    async def aclose(self) -> None:
        """Cancel the agents that did not stop once more. The next core closes the runs that are open now."""
        if self.unstopped_agents:
            for agent in self.unstopped_agents:
                agent.cancel()
            await asyncio.wait(tuple(self.unstopped_agents), timeout=STOP_AGENTS_S)
        if self.unstopped_agents:
            logger.error("%d agents did not stop", len(self.unstopped_agents))
        if busy := await AgentThread.busy(STOP_AGENTS_S):
            logger.error("%d agents that are not async did not stop: their `finally` blocks do not run", busy)
        for reaping in self._reaping:
            reaping.cancel()

    def _agent_stopped(self, agent: asyncio.Task[None]) -> None:
        self.unstopped_agents.discard(agent)
        if not agent.cancelled() and agent.exception() is not None:
            logger.warning("%s raised after its run", agent.get_name(), exc_info=agent.exception())


async def reap_orphans(log: RunLog, core: str | None = None) -> int:
    """Close the runs that a store has as open. Return how many they were.

    To be called only where these runs certainly have no writer: by a core that starts on a store of its own,
    or by one that knows that another core is gone.

    Args:
        log: The store.
        core: Whose runs; None for all.
    """
    appended = [await reap(log, run_id) for run_id in await log.open_runs(core)]
    return sum(answer.status is AppendStatus.OK for answer in appended)


async def reap_when_possible(log: RunLog, run_id: str) -> None:
    """Close a run that its writer has given up, as soon as the log can be reached.

    Does nothing where the log refuses it for good: another core has the run, or the log does not know it.
    """
    while True:
        try:
            await reap(log, run_id, writes_span=False)  # Its own span has ended here.
        except LogAwayError:
            await asyncio.sleep(RETRY_S)
        else:
            return


async def reap(log: RunLog, run_id: str, *, writes_span: bool = True) -> Appended:
    """Close a lost run. Return what the log answered: OK where no core has closed it before.

    Args:
        log: The store.
        run_id: The run.
        writes_span: Whether a span tells it to the run's trace, since its process could not end its own.
    """
    started = await _event_after(log, run_id, START)
    span = parse_traceparent(started.run_started.traceparent if started is not None else "")
    trace_id = trace_id_of(span)
    answer = await log.reap(run_id, FIRST_EPOCH, _lost(trace_id), Outcome("error", PRODUCER_LOST.code))
    if answer.status is AppendStatus.OK:
        text = "run %s failed: its core was lost (trace %s)"
        logger.info(text, run_id, trace_id or "-", extra=log_fields(run_id=run_id, span=span))
        if writes_span and span.trace_flags.sampled:
            await _write_span(log, run_id, span)
    return answer


async def _write_span(log: RunLog, run_id: str, span: SpanContext) -> None:
    """Write the span of a lost run, whose terminal event is in its log by now."""
    try:
        info = await log.info(run_id)
        # A lost run has had one writer, so that all before the terminal event is of one epoch.
        before = info.last.sequence - 2 if info is not None else -1
        last = await _event_after(log, run_id, Position(FIRST_EPOCH, before)) if before >= 0 else None
    except LogAwayError:
        return
    if last is not None:
        write_lost_run_span(
            run_id,
            span,
            start_unix_nano=last.create_time.ToNanoseconds(),
            events=before + 1,
            error_type=PRODUCER_LOST.details["reason"],
        )


async def _event_after(log: RunLog, run_id: str, after: Position) -> Event | None:
    """Return the first event after a position; None where the log has it no more."""
    try:
        batch = await log.read(run_id, after, 1, 1)
    except LogGoneError:
        return None
    follows = batch.events and batch.first == after.sequence + 1
    return Event.FromString(batch.events[0]) if follows else None


def _lost(trace_id: str) -> bytes:
    """Return the payload of the terminal event of a lost run."""
    event = new_event(time.time_ns())
    event.error.code = PRODUCER_LOST.code
    event.error.message = PRODUCER_LOST.message
    event.error.retryable = PRODUCER_LOST.retryable
    event.error.details.update(PRODUCER_LOST.details)
    event.error.trace_id = trace_id
    return encode_payload(event, monotonic_nano())
