"""One live run: its agent's task, its clock, its end.

Two tasks: the *pump* asks the agent for events and writes them to the log; the *supervisor* waits for
the pump, or for a reason to stop it, and writes the terminal event. No call of a client is
among them: calls only read the log.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from agent_core.agents.events import ToolStart
from agent_core.agents.loading import model_of
from agent_core.log.contract import Exchange, LogAwayError, RunLog, RunRecord
from agent_core.runs.agent_code import place_of
from agent_core.runs.agent_stream import close_stream, open_stream, throw_cancelled
from agent_core.runs.failure_log import log_failure
from agent_core.runs.failures import (
    PRODUCER_LOST,
    SHUT_DOWN,
    TIMED_OUT,
    AgentExitError,
    RubbishError,
    RunTooLargeError,
    ToolLimitError,
    failure_of,
)
from agent_core.runs.hooks import RunHooks
from agent_core.runs.presence import Presence, Verdict
from agent_core.runs.run_order import RunOrder, RunTimes, StopCause
from agent_core.runs.state import RunState
from agent_core.runs.writer import LogRefusedError, RunWriter
from agent_core.telemetry.run_span import RunSpan
from tokenwire.logs import bind_log_fields, log_fields
from tokenwire.telemetry import monotonic_nano
from tokenwire.telemetry.metrics.instruments import CANCEL_DURATION
from tokenwire.telemetry.metrics.series import NANO
from tokenwire.v1.event_pb2 import RunStarted

EVENTS_PER_TURN: Final = 32
"""After so many events the event loop gets a turn. An agent that yields without ever waiting would
otherwise keep it to itself: nobody would read what it says, and nobody could cancel it. 32 events
take about 0.3 ms."""

CREATE_TRIES: Final = 5
CREATE_S: Final = 2.0
"""How often, and until when, a run's creation is tried: without a pause, so that a log that is away is told
of at once, and one whose connection broke takes the run."""

logger = logging.getLogger(__name__)


class Run:
    """A run from its creation in the log to its terminal event.

    Args:
        order: What it is to be.
        log: The store.
        times: How long things may take.
        hooks: What it tells, and asks.
    """

    def __init__(self, order: RunOrder, log: RunLog, times: RunTimes, hooks: RunHooks) -> None:
        loop = asyncio.get_running_loop()
        self.record = order.record
        self.begun: asyncio.Future[RunRecord] = loop.create_future()
        """Done when RunStarted is in the log, or when it turned out that another run stands for it."""
        self.ended = asyncio.Event()
        """Set when the terminal event is in the log."""
        self.span: RunSpan | None = None
        """The run's span, once it has begun."""
        self.lost = False
        """True while it is in the log without its terminal event: when it is over, somebody must reap it."""
        self._order = order
        self._log = log
        self._times = times
        self._on_end = hooks.on_end
        self._held = hooks.held
        self._may_act_no_more = False
        self._presence = Presence(order.record.on_disconnect)
        self._following_elsewhere: dict[str, int] = {}
        self._state = RunState(wall_offset_nano=time.time_ns() - monotonic_nano(), limits=order.limits)
        self._writer = RunWriter(
            log,
            order.record,
            on_refusal=lambda: self.stop(StopCause.LOG_LOST),
            on_away=lambda error: hooks.on_away(order.record.run_id, error),
            on_back=lambda: hooks.on_back(order.record.run_id),
        )
        self._stop: asyncio.Future[StopCause] = loop.create_future()
        self._stopped_at = 0
        self._grace: asyncio.TimerHandle | None = None
        self._agent_task: asyncio.Task[None] | None = None
        self._history: Sequence[Exchange] = ()
        # A context of its own: what a call has in its context does not concern the run.
        self._supervisor = asyncio.create_task(
            self._supervise(), name=f"run {self.record.run_id}", context=contextvars.Context()
        )

    @property
    def repeated(self) -> bool:
        """True when it has started nothing: an earlier run stands for its request."""
        begun = self.begun
        return begun.done() and begun.exception() is None and begun.result() is not self.record

    @property
    def stopping(self) -> bool:
        """True from the moment on at which the agent was told to stop."""
        return self._stop.done()

    def stop(self, cause: StopCause) -> None:
        """Tell the agent to stop. The first cause counts; a repetition changes nothing.

        Nor does it when the agent has come to its own end already: that is how the run ends then.
        """
        task = self._agent_task
        if not self._stop.done() and not (task is not None and task.done()):
            self._stop.set_result(cause)
            self._stopped_at = monotonic_nano()
            if task is not None:
                # Here and now: an event that the agent yields from now on, it yields in spite of this.
                task.cancel()

    def join(self) -> None:
        """Count one more follower."""
        self._presence.join()
        self._cancel_grace()

    def leave(self, *, relay: bool) -> None:
        """Do what is to be done now that a follower's call has ended before the run."""
        self._follow(self._presence.leave(relay=relay))

    def follower_left(self) -> None:
        """Do what is to be done on the word that one behind a relay has left by itself."""
        self._follow(self._presence.said_left())

    def follows_elsewhere(self, core: str, followers: int) -> None:
        """Take note of how many follow at another core, which passes the events on."""
        before = self._following_elsewhere.pop(core, 0)
        if followers:
            self._following_elsewhere[core] = followers
        for _ in range(before, followers):
            self.join()
        for _ in range(followers, before):
            self.leave(relay=True)

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
        stray: asyncio.Task[None] | None = None
        try:
            if await self._begin():
                stray = await self._conduct()
        except LogRefusedError:
            logger.exception("the log of run %s was lost", self.record.run_id, extra=self._log_fields())
        except Exception:
            logger.exception(
                "run %s broke: this is a bug of the core", self.record.run_id, extra=self._log_fields()
            )
        finally:
            self._cancel_grace()
            if self.span is not None:
                cause = self._stop.result().value if self._stop.done() else ""
                state = self._state
                self.span.end(state.outcome, events=state.sequence, usage=state.usage, stop_cause=cause)
            self.ended.set()
            self._on_end(self, stray)
            # Else a cycle would wait for a collection of garbage: through the writer's callbacks, and through
            # the frames that a cancelled agent's exception holds.
            self._writer.detach()
            self._agent_task = None

    async def _begin(self) -> bool:
        """Return whether the run is now in the log, with its first event; else another one is."""
        order, record = self._order, self.record
        try:
            standing = await self._create()
            if standing is not record:
                self.begun.set_result(standing)
                return False
            self.lost = True
            self.span = RunSpan(
                agent=record.agent,
                run_id=record.run_id,
                session_id=record.session_id,
                model=model_of(order.agent),
                parent=order.parent,
            )
            started = RunStarted(
                run_id=record.run_id,
                session_id=record.session_id,
                agent=record.agent,
                model=model_of(order.agent),
                traceparent=self.span.traceparent,
            )
            if record.session_id:
                self._history = await self._log.history(record.owner, record.session_id)
            self._writer.write([self._state.start(started, monotonic_nano())])
            await self._writer.flush()
        except Exception as error:  # noqa: BLE001 # whoever waits for `begun` is told
            self.begun.set_exception(error)
            self.begun.exception()  # Counts as retrieved: the one who waits may have gone.
            return False
        self._follow(self._presence.unfollowed())
        self.begun.set_result(record)
        return True

    async def _create(self) -> RunRecord:
        """Return the record that stands now for this run's request.

        Tried again at once: where an answer was lost, the run may be there, without anybody to write it.
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
        assert self.span is not None  # noqa: S101 # for the type checker
        context = self.span.current_context()
        context.run(bind_log_fields, self._log_fields())  # for what the agent logs
        pump = asyncio.create_task(self._pump(), name=f"agent of {self.record.run_id}", context=context)
        left_s = max(0.0, self._order.deadline - time.monotonic())
        self._agent_task = pump
        if self._stop.done():
            pump.cancel()
        either: set[asyncio.Future[Any]] = {pump, self._stop}
        await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not pump.done():
            self.stop(StopCause.DEADLINE)  # Changes nothing when there was another cause.
            await asyncio.wait({pump}, timeout=self._times.stop_grace_s)
        self._count_stop()
        payload = self._end(pump)
        assert self._state.outcome is not None  # noqa: S101 # for the type checker
        await self._writer.close(payload, self._state.outcome, self._exchange())
        self.lost = False
        if pump.done():
            return None
        logger.error(
            "run %s has ended, but its agent does not stop",
            self.record.run_id,
            extra=self._log_fields(),
        )
        return pump

    def _count_stop(self) -> None:
        """Count how long the agent took to end once it was told to; where it has not, so far."""
        if self._stop.done():
            took_s = (monotonic_nano() - self._stopped_at) / NANO
            CANCEL_DURATION.observe(took_s, self._stop.result().value)

    def _exchange(self) -> Exchange | None:
        """Return what the session is to remember: nothing of a run without an answer."""
        answer = self._state.answer
        return Exchange(self._order.spec.message, answer) if self.record.session_id and answer else None

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

    async def _pump(self) -> None:
        """Take events from the agent and write them. Raises what ended the agent, if anything did."""
        try:
            stream = open_stream(self._order.agent, self._order.request(self._history, self._may_act))
            try:
                await self._consume(stream)
            finally:
                await close_stream(stream)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would pass these on and end the whole core.
            raise AgentExitError(f"the agent raised {type(error).__name__}") from error

    async def _consume(self, stream: AsyncIterator[object]) -> None:
        """Write what the agent yields until it ends, or was told to stop."""
        since_turn = 0
        async for item in stream:
            if self._stop.done():
                logger.warning("run %s: its agent continued after it was stopped", self.record.run_id)
                return
            try:
                payloads = self._state.feed(item, monotonic_nano())
                if payloads:
                    self._writer.write(payloads)
                if isinstance(item, ToolStart):
                    await self._held()  # The agent goes on to its tool when this returns.
                since_turn += 1
                if since_turn >= EVENTS_PER_TURN or self._writer.full:
                    since_turn = 0
                    await self._writer.room()
            except asyncio.CancelledError as cancelled:
                await throw_cancelled(stream, cancelled)
                raise
            except RubbishError as error:
                raise RubbishError(f"{error} ({place_of(self._order.agent, stream)})") from error
            except (RunTooLargeError, ToolLimitError):
                self._may_act_no_more = True  # Its agent calls no tool while it is closed.
                raise
        if not self._stop.done() and (rest := self._state.flush(monotonic_nano())):
            self._writer.write(rest)

    async def _may_act(self) -> None:
        """Return once the agent may call a tool: never where it has had all its calls, and is closed now."""
        if self._may_act_no_more:
            await asyncio.get_running_loop().create_future()
        await self._held()

    def _log_fields(self) -> dict[str, str]:
        """Return the `extra` of what is logged of this run."""
        span = self.span.context if self.span is not None else None
        return log_fields(run_id=self.record.run_id, agent=self.record.agent, span=span)

    def _follow(self, verdict: Verdict) -> None:
        """Do what the followers' coming and going means."""
        if verdict is Verdict.CANCEL:
            self.stop(StopCause.FOLLOWER_LEFT)
        elif verdict is Verdict.GRACE and self._grace is None and not self.ended.is_set():
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(self._times.disconnect_grace_s, self.stop, StopCause.FOLLOWER_LEFT)

    def _cancel_grace(self) -> None:
        """Stop the timer of the grace time."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
