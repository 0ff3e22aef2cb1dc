"""The stream of one run: one source after the other, from whichever core serves it.

While a source is open, nothing here runs but what the source tells. A task is there only while the stream
recovers: it waits, asks, and opens the next source.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from edge.errors import EdgeError
from edge.telemetry.client_span import Attempt, ReconnectSpan
from edge.upstream.contract import Caller, Leave, RunSink
from edge.upstream.cores import (
    ELSEWHERE,
    FOLLOW_SILENCE_S,
    Cores,
    is_of_transport,
    not_answering,
    require_alive,
)
from edge.upstream.departures import BegunSink, Departures
from edge.upstream.member import Member
from edge.upstream.placement import is_ready, is_shared
from edge.upstream.reader import RunReader
from edge.upstream.retry_policy import RetryPolicy
from edge.upstream.source import Source
from tokenwire.cursor import Cursor
from tokenwire.logs import log_fields
from tokenwire.reasons import Reason
from tokenwire.telemetry.metrics.instruments import BY_EDGE, RESUMES

LEAVE_TIMEOUT_S: Final = 5.0
"""How long a stream whose client has gone waits to learn its run's id, to tell the core so."""

AWAY: Final = "The answer is still being written, but can't be shown at the moment."
"""What a client is told while no core can read the log."""

logger = logging.getLogger(__name__)


class FollowCall:
    """Reads one run to its end, and tells a sink.

    Args:
        cores: The cores.
        departures: Tells cores that the client has left, where the source can't.
        caller: On whose behalf.
        reader: Knows the run, and how far it was read.
    """

    __slots__ = (
        "_attempt",
        "_avoided",
        "_begun",
        "_caller",
        "_cores",
        "_departures",
        "_failed_at",
        "_goes_on",
        "_is_interrupted",
        "_is_over",
        "_member",
        "_reconnect",
        "_recovery",
        "_retry",
        "_served_by",
        "_source",
        "_span_context",
        "_told_away",
        "_without_it",
        "reader",
    )

    def __init__(self, cores: Cores, departures: Departures, caller: Caller, reader: RunReader) -> None:
        self.reader = reader
        """Is fed by the source."""
        self._cores = cores
        self._departures = departures
        self._caller = caller
        self._source: Source | None = None
        self._member: Member | None = None
        self._served_by: Member | None = None
        self._avoided: Member | None = None
        self._without_it: frozenset[Member] = frozenset()
        self._retry: RetryPolicy | None = None
        self._failed_at: Cursor | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._reconnect: ReconnectSpan | None = None
        self._attempt = Attempt.FIRST
        self._span_context = INVALID_SPAN_CONTEXT
        self._begun: asyncio.Future[str] | None = None
        self._told_away = False
        self._is_interrupted = False
        self._goes_on = False
        self._is_over = False

    @property
    def is_silent(self) -> bool:
        """Whether nothing can come at the moment: there is no source, or its core does not answer."""
        return self._source is None or self._member is None or not self._member.answers

    @property
    def span_context(self) -> SpanContext:
        """Names the CLIENT span of what carries the run now, or did last; invalid before the first.

        While the stream is broken, that of the reconnect: those of its attempts may not be exported.
        """
        return self._span_context

    def start(self, sink: RunSink) -> None:
        """Begin to read. Nothing is told before this returns."""
        self.reader.sink = sink
        self._go_on()

    def resume(self) -> None:
        """Say that the sink, which was full, has room again."""
        if self._source is not None:
            self._source.resume()

    def close(self, reason: Leave) -> None:
        """End it at once: the sink is told nothing more. A repetition does nothing.

        Args:
            reason: Why. LEFT is told to the core, also when the run has not begun yet.
        """
        if self._is_over or self._begun is not None:
            return
        if reason is Leave.LEFT and not self.reader.ended and self._leave():
            return
        self._stop(reason)

    def _leave(self) -> bool:
        """Tell the core that the client left by itself.

        Returns:
            Whether the source is still needed for it.
        """
        source, run_id = self._source, self.reader.run_id
        if source is not None and source.leave(self._tell_departure):
            self._forget_source()
        elif run_id:
            self._tell_departure()
        elif self._member is not None:  # A core has been asked to start the run, and may have done so.
            begun = self._begun = asyncio.get_running_loop().create_future()
            self.reader.sink = BegunSink(self._on_begun)
            self._departures.tasks.spawn(self._leave_once_begun(begun), "leave a run that begins")
            return True
        return False

    def _tell_departure(self) -> None:
        if self.reader.run_id:
            self._departures.tell(self.reader.run_id, self._caller)

    def _on_begun(self, run_id: str) -> None:
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(run_id)

    async def _leave_once_begun(self, begun: asyncio.Future[str]) -> None:
        """Tell the core that the client left, once the run has an id."""
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                run_id = await begun
            # Told by the source, and beside it as well, it would count as two clients.
            if self._source is not None and self._source.leave(self._tell_departure):
                self._forget_source()
                return
        except TimeoutError:
            return
        finally:
            self._stop(Leave.LEFT)
        if run_id:
            await self._departures.told(run_id, self._caller)

    def on_first(self) -> None:
        """Learn that the source brings something."""
        if self._reconnect is not None and self._source is not None:
            self._reconnect.succeeded()
            self._reconnect = None
            self._span_context = self._source.span_context
        if self._goes_on:
            self._goes_on = False
            RESUMES.add(1, BY_EDGE)
        self._served_by = self._member
        if self._retry is not None:
            self._retry.heard()
        self._told_away = self._is_interrupted = False

    def on_change(self) -> None:
        """Learn that the run has ended, or that the core shuts down: then leave it for another one."""
        if self.reader.ended:
            self._end(None)
        elif self.reader.draining:
            self.reader.draining = False
            self._move()

    def on_failed(self, error: EdgeError) -> None:
        """Learn that the source is over before the run is: go on with another one, or give up."""
        self._forget_source()
        self._recover(error)

    def on_crashed(self, error: Exception) -> None:
        """Learn that the reader, or its sink, has raised what it must not: this stream ends, and no other."""
        self._log_bug("reading run %s failed", error)
        self._drop(Leave.BROKEN)
        self._end(EdgeError("INTERNAL"))

    def on_refused(self) -> None:
        """Learn that the source was never used, since its core has no link: ask the same core otherwise."""
        self._forget_source()
        if self._member is not None:
            self._open(self._member)

    def _on_silence(self) -> None:
        """Leave the core that serves this stream, where it hangs and another one can go on."""
        if self._source is not None and self._member is not None and self._gives_up(self._member):
            self._drop(Leave.BROKEN)
            self._recover(not_answering())

    def _gives_up(self, member: Member) -> bool:
        """Return whether to wait no longer for a core that does not answer."""
        return member.silent_s >= FOLLOW_SILENCE_S and self._cores.can_replace(member)

    def _move(self) -> None:
        """Leave a core that shuts down, where another one can go on."""
        member = self._member
        if member is None:
            return
        member.drains()
        others = (other for other in self._cores.members if other is not member)
        if is_shared(member) and any(map(is_ready, others)):
            self._avoided = member
            self._drop(Leave.DRAINED)
            self._go_on()

    def _go_on(self) -> None:
        """Open the next source: at once where it is known which core to ask."""
        if self._cores.are_known:
            self._open(self._next_member())
        else:
            self._recover(None)

    def _next_member(self) -> Member:
        """Return the core that is asked next: another one than has just failed, if there is one."""
        if self._served_by is not None and not is_shared(self._served_by):
            return self._served_by  # Nobody else has the run.
        members = self._cores.for_run(self.reader.run_id)
        avoided, self._avoided = self._avoided, None
        others = [member for member in members if member is not avoided and member not in self._without_it]
        return (others or members)[0]

    def _open(self, member: Member) -> None:
        """Open a source at a core, which goes on where the reader is."""
        self._member = member
        self._goes_on = self._served_by is not None
        self._source = self._source_at(member)
        if self._reconnect is None:
            self._span_context = self._source.span_context
        member.streams += 1
        member.watch(self._on_silence)

    def _source_at(self, member: Member) -> Source:
        attempt = Attempt.FIRST
        if self._reconnect is not None:
            self._reconnect.attempts += 1
            attempt = self._attempt
        return member.follow_run(self, self._caller, attempt)

    def _recover(self, failure: EdgeError | None) -> None:
        """Open the next source: after a failure when it is time to, else once it is known where."""
        self._recovery = self._cores.tasks.spawn(self._recovered(failure), "open a stream")

    async def _recovered(self, failure: EdgeError | None) -> None:
        """Open the next source when it is time to; end the stream where that does not help."""
        try:
            if failure is not None:
                await self._counted(failure)
            await self._cores.learn()
            self._recovery = None
            if not self._is_over:  # The sink has closed it in this task's own turn.
                self._open(self._next_member())
        except EdgeError as final:
            self._recovery = None
            # Else a cycle would wait for a collection: the frames that it was raised through hold it.
            self._end(final.with_traceback(None))
        except Exception as error:  # noqa: BLE001 # logged: the client must not wait for ever
            self._log_bug("following run %s failed", error)
            self._recovery = None
            self._end(EdgeError("INTERNAL"))

    async def _counted(self, error: EdgeError) -> None:
        """Do what `_failed` does, and count the stream where its core is away."""
        member, is_away = self._member, is_of_transport(error)
        if member is not None and is_away and not self._is_interrupted:
            self._is_interrupted = True
            member.interrupted()
        try:
            await self._failed(error)
        except EdgeError as final:
            if member is not None and is_away:
                member.failed()
            if self._reconnect is not None:
                self._reconnect.failed(final.code)
                self._reconnect = None
            raise

    async def _failed(self, error: EdgeError) -> None:
        """Return when the run is to be followed again.

        Raises:
            EdgeError: It is not: the stream is over.
        """
        member = self._member
        assert member is not None  # noqa: S101 # it has failed
        if self._may_be_elsewhere(member, error):
            return
        broke_unix_nano = time.time_ns()
        if self._retry is None:
            self._retry = RetryPolicy()
        is_further = self.reader.cursor != self._failed_at
        self._failed_at = self.reader.cursor
        wait_s = self._retry.after(error, asyncio.get_running_loop().time(), is_further=is_further)
        await require_alive(member, error)
        self._reconnects(error, broke_unix_nano)
        self._avoided = member
        if is_of_transport(error):
            member.suspect(error)
        logger.debug("run %s is followed again: %s", self.reader.run_id, error)
        if error.details.get("reason") == Reason.LOG_AWAY and not self._told_away:
            self._told_away = True
            self.reader.degraded(AWAY)
            return
        await asyncio.sleep(wait_s)

    def _may_be_elsewhere(self, member: Member, error: EdgeError) -> bool:
        """Return whether another core may have a run that this one does not have."""
        if self._served_by is not None or error.code not in ELSEWHERE or is_shared(member):
            return False
        self._without_it |= {member}
        return len(self._without_it) < len(self._cores.members)

    def _reconnects(self, error: EdgeError, broke_unix_nano: int) -> None:
        """Begin the span of a reconnect, or go on with it."""
        if self._reconnect is None:
            self._reconnect = ReconnectSpan(self._caller.context, self.reader.run_id, broke_unix_nano)
            self._span_context = self._reconnect.context
        self._attempt = Attempt.AGAIN if is_of_transport(error) else Attempt.UNSEEN

    def _drop(self, reason: Leave) -> None:
        """Close the source, if there is one."""
        source = self._forget_source()
        if source is None:
            return
        if self.reader.ended:
            source.finish()  # The core ends it by itself: that must not look cancelled.
        else:
            source.close(reason)

    def _forget_source(self) -> Source | None:
        """Return the source, which is over, or about to be."""
        source, self._source = self._source, None
        if source is not None and self._member is not None:
            self._member.streams -= 1
            self._member.unwatch(self._on_silence)
        return source

    def _stop(self, reason: Leave) -> None:
        """End the stream, and tell the sink nothing."""
        self._is_over = True
        self.reader.sink = None
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        self._drop(reason)
        if self._reconnect is not None:
            self._reconnect.cancelled()
            self._reconnect = None

    def _end(self, failure: EdgeError | None) -> None:
        """End the stream, and tell the sink."""
        if self._is_over:
            return
        sink = self.reader.sink
        self._stop(Leave.ENDED)
        try:
            if sink is not None:
                sink.end(failure)
        except Exception as error:  # noqa: BLE001 # logged: it is over all the same
            self._log_bug("ending the stream of run %s failed", error)

    def _log_bug(self, text: str, error: Exception) -> None:
        run_id = self.reader.run_id
        logger.error(text, run_id or "(unnamed)", extra=log_fields(run_id=run_id), exc_info=error)
