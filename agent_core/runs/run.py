"""One live run: its beginning, its agent's task, its end.

Two tasks: the pump (`runs.pump`) asks the agent for events and writes them to the log; the *supervisor* waits
for the pump, or for a reason to stop it, and writes the terminal event. No call of a client is among them:
calls only read the log.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent_core.agents.loading import model_of
from agent_core.log.contract import RunLog
from agent_core.log.errors import LogAwayError
from agent_core.log.records import Exchange, RunRecord
from agent_core.runs.failures import (
    PRODUCER_LOST,
    SHUT_DOWN,
    TIMED_OUT,
    ToolLimitError,
    failure_of,
    log_failure,
)
from agent_core.runs.inputs import InputHooks, RunInputs
from agent_core.runs.limits import RunLimits
from agent_core.runs.presence import RunFollowers
from agent_core.runs.pump import AgentPump
from agent_core.runs.run_deadline import RunDeadline
from agent_core.runs.start_request import StartRequest
from agent_core.runs.state import RunState
from agent_core.runs.writer import LogRefusedError, RunWriter
from agent_core.telemetry.run_span import RunSpan
from tokenwire.logs import bind_log_fields, log_fields
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.metrics.instruments import CANCEL_DURATION
from tokenwire.telemetry.metrics.series import NANO
from tokenwire.v1.event_pb2 import RunStarted

CREATE_TRIES: Final = 5
CREATE_S: Final = 2.0
"""How often, and until when, a run's creation is tried: without a pause, so that a log that is away is
reported at once, and one whose connection broke takes the run."""

logger = logging.getLogger(__name__)


class StopCause(enum.Enum):
    """Why a run is stopped before its agent came to an end."""

    CANCELLED = "cancelled"
    """A caller has cancelled it."""
    FOLLOWER_LEFT = "follower_left"
    """Its last follower has gone, or it never had one, and its OnDisconnect wants its end."""
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    LOG_LOST = "log_lost"


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What a run calls."""

    on_end: Callable[[Run, asyncio.Task[None] | None], None]
    """Called when it is over, with its agent's task where that still runs."""
    on_away: Callable[[str, LogAwayError], None]
    """Called with its id when the log does not take its events, and the log's error."""
    on_back: Callable[[str], None]
    """Called with its id when the log takes them again."""
    wait_for_lease: Callable[[], Awaitable[None]]
    """Returns once this core certainly owns its runs."""


class Run:
    """A run from its creation in the log to its terminal event.

    Args:
        request: What starts it.
        log: The store.
        limits: How long and how large it may become.
        hooks: What it calls.
    """

    def __init__(self, request: StartRequest, log: RunLog, limits: RunLimits, hooks: RunHooks) -> None:
        loop = asyncio.get_running_loop()
        self.record = record = request.record
        self.begun: asyncio.Future[RunRecord] = loop.create_future()
        """Done when RunStarted is in the log, or when it turned out that another run stands for it."""
        self.ended = asyncio.Event()
        """Set when the terminal event is in the log."""
        self.span: RunSpan | None = None
        """The run's span, once it has begun."""
        self.lost = False
        """True while it is in the log without its terminal event: if it is over then, it must be reaped."""
        self.followers = RunFollowers(
            record.on_disconnect, limits.disconnect_grace_s, lambda: self.stop(StopCause.FOLLOWER_LEFT)
        )
        """Those who follow it."""
        self._request = request
        self._log = log
        self._stop_grace_s = limits.stop_grace_s
        self._hooks = hooks
        self._deadline = RunDeadline(
            request.deadlines.own, request.deadlines.call, lambda: self.stop(StopCause.DEADLINE)
        )
        self._state = RunState(wall_offset_nano=time.time_ns() - monotonic_nano(), limits=limits)
        self._writer = RunWriter(
            log,
            record,
            on_refusal=lambda: self.stop(StopCause.LOG_LOST),
            on_away=lambda error: hooks.on_away(record.run_id, error),
            on_back=lambda: hooks.on_back(record.run_id),
        )
        self._stop: asyncio.Future[StopCause] = loop.create_future()
        hooks_of_inputs = InputHooks(
            self._stop.done, self._wait_for_person, self._add_span_event, self._deadline.at
        )
        self.inputs = RunInputs(
            *(self._state, self._writer, hooks_of_inputs), max_timeout_s=limits.max_input_wait_s
        )
        """Its questions to the people who follow it."""
        self._stopped_at = 0
        self._agent_task: asyncio.Task[None] | None = None
        self._history: Sequence[Exchange] = ()
        # A context of its own: what a call has in its context does not concern the run.
        self._supervisor = asyncio.create_task(
            self._supervise(), name=f"run {record.run_id}", context=contextvars.Context()
        )

    @property
    def repeated(self) -> bool:
        """True when it has started nothing: an earlier run stands for its request."""
        begun = self.begun
        return begun.done() and begun.exception() is None and begun.result() is not self.record

    @property
    def stopping(self) -> bool:
        """True as soon as the agent is to stop."""
        return self._stop.done()

    def stop(self, cause: StopCause) -> None:
        """Stop the agent. The first cause counts; a repetition changes nothing.

        Nor does it when the agent has come to its own end already: that is how the run ends then.
        """
        task = self._agent_task
        if not self._stop.done() and not (task is not None and task.done()):
            self._stop.set_result(cause)
            self._stopped_at = monotonic_nano()
            if task is not None:
                # Here and now: an event that the agent yields from now on, it yields in spite of this.
                task.cancel()

    async def check(self) -> bool:
        """See to it that the log has this run as it is; stop it when it is this core's no more.

        Returns:
            Whether that is known now: False where the log is away.
        """
        try:
            await self._writer.check()
        except LogRefusedError:
            self.stop(StopCause.LOG_LOST)
        except LogAwayError as error:
            logger.debug("run %s could not be checked: %s", self.record.run_id, error)
            return False
        return True

    async def _supervise(self) -> None:
        """Take the run from its creation to its end. Raises nothing."""
        unstopped: asyncio.Task[None] | None = None
        try:
            if await self._begin():
                unstopped = await self._conduct()
        except LogRefusedError:
            logger.exception("the log of run %s was lost", self.record.run_id, extra=self._log_fields())
        except Exception:
            logger.exception(
                "run %s broke: this is a bug of the core", self.record.run_id, extra=self._log_fields()
            )
        finally:
            self.followers.close()
            self.inputs.close()
            self._deadline.close()
            if self.span is not None:
                cause = self._stop.result().value if self._stop.done() else ""
                state = self._state
                self.span.end(state.outcome, events=state.sequence, usage=state.usage, stop_cause=cause)
            self.ended.set()
            self._hooks.on_end(self, unstopped)
            # Else a cycle would wait for a collection of garbage: through the writer's callbacks, and through
            # the frames that a cancelled agent's exception holds.
            self._writer.detach()
            self._agent_task = None

    async def _begin(self) -> bool:
        """Return whether the run is now in the log, with its first event; else another one is."""
        try:
            standing = await self._create()
            if standing is self.record:
                self.lost = True
                await self._write_start()
        except Exception as error:  # noqa: BLE001 # raised where `begun` is awaited
            self.begun.set_exception(error)
            self.begun.exception()  # Counts as retrieved: the caller who waits may have gone.
            return False
        if standing is self.record:
            self.followers.begin()
        self.begun.set_result(standing)
        return standing is self.record

    async def _write_start(self) -> None:
        """Begin the run's span, and write its first event."""
        record, model = self.record, model_of(self._request.agent)
        self.span = RunSpan(
            agent=record.agent,
            run_id=record.run_id,
            session_id=record.session_id,
            model=model,
            parent=self._request.parent,
        )
        started = RunStarted(
            run_id=record.run_id,
            session_id=record.session_id,
            agent=record.agent,
            model=model,
            traceparent=self.span.traceparent,
        )
        if record.session_id and not self._request.spec.HasField("history"):
            self._history = await self._log.history(record.owner, record.session_id)
        self._writer.write([self._state.start(started, monotonic_nano())])
        await self._writer.flush()

    async def _create(self) -> RunRecord:
        """Return the record that stands now for this run's request.

        Tried again at once: where an answer was lost, the run may be there, without a writer.
        """
        last = time.monotonic() + CREATE_S
        for _ in range(CREATE_TRIES - 1):
            try:
                return await self._log.create(self.record)
            except LogAwayError:
                if time.monotonic() > last:
                    raise
        return await self._log.create(self.record)

    async def _conduct(self) -> asyncio.Task[None] | None:
        """Run the agent and write the terminal event. Return the agent's task if it did not stop."""
        self._agent_task = pump = self._start_agent()
        await self._wait_for_agent(pump)
        self.inputs.close()
        self._count_stop()
        payload = self._end(pump)
        assert self._state.outcome is not None  # noqa: S101 # for the type checker
        await self._writer.close(payload, self._state.outcome, self._exchange())
        self.lost = False
        if pump.done():
            return None
        text = "run %s has ended, but its agent does not stop"
        logger.error(text, self.record.run_id, extra=self._log_fields())
        return pump

    def _start_agent(self) -> asyncio.Task[None]:
        """Return the task of the pump, in a context of the run's own."""
        assert self.span is not None  # noqa: S101 # for the type checker
        context = self.span.current_context()
        context.run(bind_log_fields, self._log_fields())  # for what the agent logs
        agent = AgentPump(
            *(self._request, self._state, self._writer, self.inputs),
            is_stopped=self._stop.done,
            wait_for_lease=self._hooks.wait_for_lease,
        )
        name = f"agent of {self.record.run_id}"
        return asyncio.create_task(agent.run(self._history), name=name, context=context)

    async def _wait_for_agent(self, pump: asyncio.Task[None]) -> None:
        """Return when the agent has ended, or its time to stop is over."""
        if self._stop.done():
            pump.cancel()
        self._deadline.begin()
        either: set[asyncio.Future[Any]] = {pump, self._stop}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not pump.done():
            await asyncio.wait({pump}, timeout=self._stop_grace_s)

    def _wait_for_person(self, is_waiting: bool) -> None:  # noqa: FBT001 # a callback's only argument
        """Let both clocks of the run stand still while it waits for a person."""
        if is_waiting:
            self._deadline.pause()
            self.followers.pause()
        else:
            self._deadline.resume()
            self.followers.resume()

    def _add_span_event(self, name: str, given: dict[str, str]) -> None:
        if self.span is not None:
            self.span.add_event(name, given)

    def _count_stop(self) -> None:
        """Count how long the agent took to stop; of one that has not stopped, the time so far."""
        if self._stop.done():
            took_s = (monotonic_nano() - self._stopped_at) / NANO
            CANCEL_DURATION.observe(took_s, self._stop.result().value)

    def _exchange(self) -> Exchange | None:
        """Return what the session is to remember: nothing of a run without an answer."""
        answer = self._state.answer
        return Exchange(self._request.spec.message, answer) if self.record.session_id and answer else None

    def _end(self, pump: asyncio.Task[None]) -> bytes:
        """Return the payload of the terminal event."""
        now = monotonic_nano()
        error = self._error_of(pump)
        match self._stop.result() if self._stop.done() else None:
            case StopCause.CANCELLED | StopCause.FOLLOWER_LEFT:
                return self._state.cancel(now)
            case StopCause.DEADLINE:
                failure = TIMED_OUT
            case StopCause.SHUTDOWN:
                failure = SHUT_DOWN
            case StopCause.LOG_LOST:
                failure = PRODUCER_LOST  # Nobody reads it: the log takes nothing more.
            case None:
                if error is None:
                    return self._state.finish(now)
                if isinstance(error, ToolLimitError):
                    return self._state.meet_tool_limit(now)
                failure = failure_of(error)
        trace_id = self.span.trace_id if self.span is not None else ""
        log_failure(
            failure, error, self.record.run_id, trace_id, stopped=self._stop.done(), fields=self._log_fields()
        )
        return self._state.fail(failure, now, trace_id=trace_id)

    def _error_of(self, pump: asyncio.Task[None]) -> BaseException | None:
        """Return what the agent raised; None when it raised nothing, or still runs."""
        if not pump.done():
            return None
        if pump.cancelled():
            return asyncio.CancelledError("the agent raised CancelledError")
        error = pump.exception()
        if error is not None and self.span is not None and not isinstance(error, ToolLimitError):
            self.span.record_exception(error)
        if error is not None and self._stop.done():
            logger.warning(
                "run %s: its agent raised while stopping",
                self.record.run_id,
                exc_info=error,
                extra=self._log_fields(),
            )
        return error

    def _log_fields(self) -> dict[str, str]:
        """Return the `extra` of what is logged of this run."""
        span = self.span.context if self.span is not None else None
        return log_fields(run_id=self.record.run_id, agent=self.record.agent, span=span)
