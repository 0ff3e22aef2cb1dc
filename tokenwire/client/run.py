"""One run, read to its end whatever breaks in between."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from tokenwire import events
from tokenwire.client.errors import (
    ClientError,
    DeadlineExceededError,
    EventsMissingError,
    RunFailedError,
)
from tokenwire.client.progress import Progress
from tokenwire.client.reading import Item, Reading, Waiting
from tokenwire.client.retrying import RetryPolicy, persist
from tokenwire.client.transport import Answer, StartRequest, Transport
from tokenwire.logs import log_fields
from tokenwire.runs import RunView

STOP_S: Final = 2.0
"""How long stopping a run that takes too long is tried, and how long its end is then awaited."""

logger = logging.getLogger(__name__)


REQUEST_ID_BYTES: Final = 16


def make_answer(run_id: str, input_id: str, value: Any, *, decline: bool) -> Answer:
    """Return the answer to a question of a run.

    Raises:
        ValueError: It declines, and has a value.
        TypeError: JSON can't hold the value.
    """
    if decline and value is not None:
        raise ValueError("decline takes no value")
    value_json = None if decline else msgspec.json.encode(value).decode()
    return Answer(run_id, input_id, value_json, secrets.token_hex(REQUEST_ID_BYTES))


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
        self._reading = Reading(transport, progress, policy, request)
        self._transport = transport
        self._policy = policy
        self._request = request
        self._on_closed = on_closed
        self._is_closed = False
        self._stops_at_s: float | None = None
        """When the client itself stops the run, and then when it waits no longer: a time of the loop."""
        self._is_overdue = False
        self._open_inputs: set[str] = set()
        """The questions that are open, as far as the events that were yielded say."""
        self._waits_since_ms = 0.0
        self._limit: asyncio.Timeout | None = None
        """That of a read that is under way."""
        self._left: asyncio.Event | None = None
        """Set when a read that was under way has ended, for `aclose`."""
        if request is not None and request.timeout_s is not None:
            self._stops_at_s = asyncio.get_running_loop().time() + request.timeout_s + transport.guard_s

    @property
    def id(self) -> str:
        """The run's id."""
        return self._reading.run_id

    @property
    def last_id(self) -> str:
        """The id of the last event that was yielded; empty before the first.

        Keep it, together with `id`, to follow the run later: `client.follow(run.id, after=run.last_id)`.
        """
        return self._reading.last_id

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
                raise self._reading.named(EventsMissingError(item.event))
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
                    raise self._reading.named(RunFailedError(error))
                case events.Done(final_message_omitted=False) as done:
                    return done.final_message
        if missing is not None:
            raise self._reading.named(EventsMissingError(missing))
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

    async def send_input(self, input_id: str, value: Any = None, *, decline: bool = False) -> str:
        """Answer a question of the run; return its outcome, `answered` or `declined`.

        Raises:
            ClientError: The question does not accept it: see `Client.send_input`.
            TypeError: JSON can't hold the value.
        """
        answer = make_answer(self.id, input_id, value, decline=decline)
        return await persist(self._transport, self._policy, lambda transport: transport.send_input(answer))

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
        await self._reading.drop()
        if self._reading.relay and self.id and not self._reading.is_ended:
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
        while not self.id and not self._reading.waiting:
            await self._receive()

    async def _next(self) -> Waiting:
        """Return the next event or control."""
        while not self._reading.waiting:
            if self._reading.is_ended:
                await self.aclose()
                if self._is_overdue:
                    raise self._too_late()
                raise StopAsyncIteration
            if self._is_closed:
                raise self._reading.named(ClientError("CANCELLED", "The run was closed."))
            await self._receive()
        waiting = self._reading.waiting.popleft()
        event_id, event = waiting.item
        self._wait_clock(event)
        self._reading.last_id = event_id or self.last_id
        if isinstance(event, events.Done | events.Error):
            self.terminal = event
        return waiting

    async def _receive(self) -> None:
        """Take in one thing, or mend what is broken, within the run's time limit.

        Raises:
            ClientError: It can't be had.
            RuntimeError: Another task reads the run.
        """
        if self._limit is not None:
            raise RuntimeError("The run is being read by another task.")
        try:
            async with asyncio.timeout_at(None if self._open_inputs else self._stops_at_s) as limit:
                self._limit = limit
                try:
                    await self._reading.receive()
                finally:
                    self._limit = None
        except TimeoutError:
            await self._reading.drop()
            if not self._is_closed:
                await self._stop()
        except BaseException:
            # A cancelled read has cancelled its call: the next one follows after the last event.
            await self._reading.drop()
            raise
        finally:
            if self._left is not None:
                self._left.set()

    def _wait_clock(self, event: events.StreamEvent | events.ControlEvent) -> None:
        """Add the time that the run waits for a person to the client's own limit: it is not the run's."""
        match event:
            case events.InputRequested():
                if not self._open_inputs:
                    self._waits_since_ms = event.timestamp
                self._open_inputs.add(event.input_id)
            case events.InputReceived() if event.input_id in self._open_inputs:
                self._open_inputs.discard(event.input_id)
                if not self._open_inputs and self._stops_at_s is not None:
                    self._stops_at_s += max(0.0, event.timestamp - self._waits_since_ms) / 1000

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
        return self._reading.named(DeadlineExceededError(limit_s))
