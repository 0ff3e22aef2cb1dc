"""One run, read to its end whatever breaks in between."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Final, NamedTuple, Self

from tokenwire import events
from tokenwire.client.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    EventsMissingError,
    RefusedError,
    RunFailedError,
)
from tokenwire.client.progress import Progress, Verdict
from tokenwire.client.retrying import Retries, RetryPolicy, persist
from tokenwire.client.transport import Received, StartRequest, Transport
from tokenwire.cursor import parse_event_id
from tokenwire.logs import log_fields
from tokenwire.runs import RunView

STOP_S: Final = 2.0
"""How long stopping a run that takes too long is tried, and how long its end is then awaited."""

logger = logging.getLogger(__name__)


class Item(NamedTuple):
    """One event of a run, or one control between events."""

    id: str
    """The event's id, `runId.epoch.sequence`; empty for a control."""
    event: events.StreamEvent | events.ControlEvent
    """What it says."""

    @property
    def is_terminal(self) -> bool:
        """Whether it is the run's last event."""
        return isinstance(self.event, events.Done | events.Error)


class _Waiting(NamedTuple):
    """What is to be yielded."""

    item: Item
    is_missing: bool = False
    """Whether it is a `Resync` after which text is missing."""


class Run:
    """A run that is read: `async for event in run` yields its events, each once and in order, to its end.

    Made by `Client.start` and `Client.follow`. A broken connection, a restarted server or a server that is
    shutting down is not seen: the run is followed again after the last event. Iteration ends after the one
    terminal event, `done` or `error`. It may be left (`break`, a timeout, a cancelled task) and taken up
    again: nothing is lost. `aclose` it, or use `async with`, to disconnect from a run before its end; closing
    the client does the same.

    For one task at a time.

    Args:
        transport: The way to the server, for this run alone.
        progress: How far the run has been read.
        policy: How long to try again.
        request: Starts the run; None for one that there is.
        on_closed: Called when nothing is open any more.
    """

    def __init__(
        self,
        transport: Transport,
        progress: Progress,
        policy: RetryPolicy,
        request: StartRequest | None,
        on_closed: Callable[[Run], None],
    ) -> None:
        self.terminal: events.Done | events.Error | None = None
        """The terminal event, once it was yielded."""
        self.last_id = progress.after
        """The id of the last event that was yielded; empty before the first. Keep it, together with `id`, to
        follow the run later: `client.follow(run.id, after=run.last_id)`."""
        self._transport = transport
        self._progress = progress
        self._policy = policy
        self._request = request
        self._on_closed = on_closed
        self._relay = request is not None and request.on_disconnect == "cancel"
        self._retries = Retries(policy, transport)
        self._stream: AsyncGenerator[Received, None] | None = None
        self._is_silent = True
        """Whether nothing came on this stream yet."""
        self._waiting: deque[_Waiting] = deque()
        self._retry_s = 0.0
        self._is_ended = False
        self._is_closed = False
        self._stops_at_s: float | None = None
        """When the client itself stops the run, and then when it waits no longer: a time of the loop."""
        self._is_overdue = False
        self._limit: asyncio.Timeout | None = None
        """That of a read that is under way."""
        self._left: asyncio.Event | None = None
        """Set when a read that was under way has ended, for `aclose`."""
        if request is not None and request.timeout_s is not None:
            self._stops_at_s = asyncio.get_running_loop().time() + request.timeout_s + transport.guard_s

    @property
    def id(self) -> str:
        """The run's id."""
        return self._progress.run_id

    def __aiter__(self) -> Self:
        """Return this."""
        return self

    async def __anext__(self) -> events.StreamEvent:
        """Return the next event.

        Raises:
            StopAsyncIteration: The terminal event was yielded.
            EventsMissingError: Text is missing: the log has dropped it. Reading on continues behind it.
            ConnectionLostError: The connection broke, and the server could not be reached in time.
            RefusedError: The run can't be followed any more: `code` is `NOT_FOUND` or `DATA_LOSS`.
            DeadlineExceededError: It took longer than its `timeout_s`.
        """
        while True:
            item, is_missing = await self._next()
            if isinstance(item.event, events.Resync) and is_missing:
                raise self._named(EventsMissingError(item.event))
            if not isinstance(item.event, events.ControlEvent):
                return item.event

    async def items(self, *, controls: bool = False) -> AsyncIterator[Item]:
        """Yield the next events with their ids.

        Args:
            controls: Whether controls are yielded between them: `Resync` (then no `EventsMissingError` is
                raised), `CaughtUp`, `Degraded` and `Reconnect`.

        Raises:
            ClientError: See `__anext__`.
        """
        while True:
            try:
                if controls:
                    item = (await self._next()).item
                else:
                    event = await anext(self)
                    item = Item(self.last_id, event)
            except StopAsyncIteration:
                return
            yield item

    async def text(self) -> str:
        """Read the run to its end; return the whole answer.

        Raises:
            RunFailedError: The run ended in an `error` event.
            EventsMissingError: The log has dropped a part of the answer.
            ClientError: See `__anext__`.
        """
        pieces: list[str] = []
        missing: events.Resync | None = None
        async for item in self.items(controls=True):
            match item.event:
                case events.TextDelta(content=content):
                    pieces.append(content)
                case events.Resync() as resync:
                    missing = resync
                case events.Error() as error:
                    raise self._named(RunFailedError(error))
                case events.Done(final_message_omitted=False) as done:
                    return done.final_message
        if missing is not None:
            raise self._named(EventsMissingError(missing))
        return "".join(pieces)

    async def cancel(self, *, patience_s: float | None = None) -> RunView:
        """Stop the run, also for all others who follow it; return its state. Idempotent.

        Its events go on to `done` with `finish_reason` `cancelled`: read on to get them.

        Args:
            patience_s: How long to try, in seconds; None for the client's.

        Raises:
            ClientError: It could not be stopped.
        """
        policy = self._policy if patience_s is None else replace(self._policy, patience_s=patience_s)
        return await persist(self._transport, policy, lambda transport: transport.cancel(self.id))

    async def state(self) -> RunView:
        """Return the state of the run at the server.

        Raises:
            ClientError: It can't be had.
        """
        return await persist(self._transport, self._policy, lambda transport: transport.get(self.id))

    async def aclose(self) -> None:
        """Disconnect; a read in another task ends in `ClientError` with the code `CANCELLED`.

        What happens to a run that has not ended, its `on_disconnect` says.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._on_closed(self)
        if self._limit is not None:  # another task reads: its read ends now
            self._left = asyncio.Event()
            self._limit.reschedule(asyncio.get_running_loop().time())
            await self._left.wait()
        await self._drop_stream()
        if self._relay and self.id and not self._is_ended:
            try:
                await self._transport.leave(self.id)
            except ClientError as error:
                text = "can't tell the server that run %s was left: %s; its grace time applies"
                logger.warning(text, self.id, error, extra=log_fields(run_id=self.id))

    async def __aenter__(self) -> Self:
        """Return this."""
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.aclose()

    async def open(self) -> None:
        """Return when the run is known: its first event has come.

        Raises:
            ClientError: It was not started, or the server can't be reached.
        """
        while not self.id and not self._waiting:
            await self._receive()

    async def _next(self) -> _Waiting:
        """Return the next event or control."""
        while not self._waiting:
            if self._is_ended:
                await self.aclose()
                if self._is_overdue:
                    raise self._too_late()
                raise StopAsyncIteration
            if self._is_closed:
                raise self._named(ClientError("CANCELLED", "The run was closed."))
            await self._receive()
        waiting = self._waiting.popleft()
        event_id, event = waiting.item
        self.last_id = event_id or self.last_id
        if isinstance(event, events.Done | events.Error):
            self.terminal = event
        return waiting

    async def _receive(self) -> None:
        """Take in one thing, or mend what is broken.

        Raises:
            ClientError: It can't be mended.
            RuntimeError: Another task reads the run.
        """
        if self._limit is not None:
            raise RuntimeError("The run is being read by another task.")
        try:
            async with asyncio.timeout_at(self._stops_at_s) as limit:
                self._limit = limit
                try:
                    self._take(await self._from_stream())
                except ClientError as problem:
                    await self._recover(problem)
                finally:
                    self._limit = None
        except TimeoutError:
            await self._drop_stream()
            if not self._is_closed:
                await self._stop()
        except BaseException:
            # A cancelled read has cancelled its call: the next one follows after the last event.
            await self._drop_stream()
            raise
        finally:
            if self._left is not None:
                self._left.set()
        if self._is_ended:
            await self._drop_stream()

    async def _from_stream(self) -> Received:
        """Return what comes next on the stream, which is opened if there is none."""
        if self._stream is None:
            self._is_silent = True
            self._stream = self._open_stream()
        try:
            received = await anext(self._stream)
        except StopAsyncIteration:
            if self._is_silent and await self._has_all():
                self._is_ended = True
                return Received(self.id, None, None)
            raise ConnectionLostError("the stream ended before the run") from None
        if self._is_silent:
            self._is_silent = False
            self._retry_s = 0.0
        return received

    def _open_stream(self) -> AsyncGenerator[Received, None]:
        if self.id or self._request is None:
            return self._transport.follow(self.id, self._progress.cursor, relay=self._relay)
        return self._transport.start(self._request)

    async def _has_all(self) -> bool:
        """Return whether an empty stream means that the last event is known already."""
        if not self.id or not self._progress.after:
            return False
        run = await self._transport.get(self.id)
        return run.state == "ended" and run.last == self._progress.after

    def _take(self, received: Received) -> None:
        """Put aside what is to be yielded.

        Raises:
            ClientError: The stream is to be opened again.
        """
        self._progress.run_id = received.run_id or self._progress.run_id
        if received.retry_s is not None:
            self._retry_s = received.retry_s
        if received.id is not None:
            self._take_event(received)
        elif isinstance(received.event, events.Error):
            # The edge's own: it has no way to the run.
            error = received.event
            raise RefusedError(
                error.code,
                error.message,
                error.details,
                retry_after_s=0.0 if error.retryable else None,
                event=error,
            )
        elif received.event is not None:
            self._take_control(received.event)

    def _take_event(self, received: Received) -> None:
        event, event_id = received.event, received.id
        assert event_id is not None  # noqa: S101 # for the type checker
        verdict = self._progress.take(event_id.cursor, getattr(event, "first", None))
        if verdict is Verdict.MISSING:
            raise ConnectionLostError("events are missing")
        self._retries.contact()
        if verdict is Verdict.FRESH and event is not None:
            self._waiting.append(_Waiting(Item(str(event_id), event)))
            self._is_ended = isinstance(event, events.Done | events.Error)

    def _take_control(self, control: events.StreamEvent | events.ControlEvent) -> None:
        self._retries.contact()
        is_missing = False
        if isinstance(control, events.Resync):
            is_missing = self._progress.resync(parse_event_id(control.first).cursor)
        self._waiting.append(_Waiting(Item("", control), is_missing))

    async def _recover(self, problem: ClientError) -> None:
        """Return when the stream can be opened again.

        Raises:
            ClientError: The problem: it is final, or has lasted too long.
        """
        await self._drop_stream()
        await self._retries.wait(self._named(problem), is_start=not self.id, at_least_s=self._retry_s)

    async def _stop(self) -> None:
        """Stop a run that takes too long, and give it a moment to say its end.

        Raises:
            DeadlineExceededError: It was stopped, and has not said it.
        """
        if self._is_overdue or not self.id:
            raise self._too_late()
        self._is_overdue = True
        try:
            await self.cancel(patience_s=STOP_S)
        except ClientError as error:
            logger.warning("can't stop run %s: %s", self.id, error, extra=log_fields(run_id=self.id))
        self._stops_at_s = asyncio.get_running_loop().time() + STOP_S

    def _too_late(self) -> ClientError:
        limit_s = (self._request.timeout_s if self._request else None) or 0.0
        return self._named(DeadlineExceededError(limit_s))

    def _named(self, error: ClientError) -> ClientError:
        """Return an error that says of which run it is, and where to go on."""
        error.run_id, error.after = self.id, self.last_id
        return error

    async def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()
