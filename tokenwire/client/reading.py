"""The stream of one run: opened, judged, and opened again after a failure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from tokenwire import events
from tokenwire.client.errors import ClientError, ConnectionLostError, RefusedError
from tokenwire.client.progress import Progress, Verdict
from tokenwire.client.retrying import Retries, RetryPolicy
from tokenwire.client.transport import Received, StartRequest, Transport
from tokenwire.cursor import parse_event_id

STEADY_S: Final = 5.0
"""A stream that has lasted so long was contact, though it brought nothing new: a run may be silent for long,
and proxies end silent streams (nginx after 60 s)."""


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


class Waiting(NamedTuple):
    """What is to be yielded."""

    item: Item
    is_missing: bool = False
    """Whether it is a `Resync` after which text is missing."""


class Reading:
    """Reads a run, one thing at a time.

    Args:
        transport: The way to the server, for this run alone.
        progress: How far the run has been read.
        policy: How long to try again.
        request: Starts the run; None for one that there is.
    """

    def __init__(
        self, transport: Transport, progress: Progress, policy: RetryPolicy, request: StartRequest | None
    ) -> None:
        self.waiting: deque[Waiting] = deque()
        """What came, and was not yielded yet."""
        self.is_ended = False
        """Whether nothing more comes: the terminal event came, or the reader had it already."""
        self.relay = request is not None and request.on_disconnect == "cancel"
        """Whether the end of a stream is not to count as leaving."""
        self.last_id = progress.after
        """The id of the last event that was yielded."""
        self._transport = transport
        self._progress = progress
        self._retries = Retries(policy, transport)
        self._request = request
        self._stream: AsyncGenerator[Received, None] | None = None
        self._since_s: float | None = None
        """When the first thing came on this stream, in seconds of a monotonic clock; None while none has."""
        self._retry_s = 0.0
        """How long the server asks to wait before it is followed again."""

    @property
    def run_id(self) -> str:
        """The run; empty until it is known."""
        return self._progress.run_id

    async def receive(self) -> None:
        """Take in one thing, or mend what is broken.

        Raises:
            ClientError: It can't be mended.
        """
        try:
            self._take(await self._from_stream())
        except ClientError as problem:
            await self.drop()
            if self._is_steady():
                self._retries.contact()
            wait_s = self._retry_s
            await self._retries.wait(self.named(problem), is_start=not self.run_id, at_least_s=wait_s)
        if self.is_ended:
            await self.drop()

    async def drop(self) -> None:
        """Close the stream, if one is open: the next one follows after the last event."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    def named(self, error: ClientError) -> ClientError:
        """Return an error that says of which run it is, and where to go on."""
        error.run_id, error.after = self.run_id, self.last_id
        return error

    async def _from_stream(self) -> Received:
        """Return what comes next on the stream, which is opened if there is none."""
        if self._stream is None:
            self._since_s = None
            self._stream = self._open_stream()
        try:
            received = await anext(self._stream)
        except StopAsyncIteration:
            if self._since_s is None and await self._has_all():
                self.is_ended = True
                return Received(self.run_id, None, None)
            raise ConnectionLostError("the stream ended before the run") from None
        if self._since_s is None:
            self._since_s = time.monotonic()
            self._retry_s = 0.0
        return received

    def _is_steady(self) -> bool:
        """Return whether the last stream has lasted long enough to be contact whatever it brought."""
        return self._since_s is not None and time.monotonic() - self._since_s >= STEADY_S

    def _open_stream(self) -> AsyncGenerator[Received, None]:
        if self.run_id or self._request is None:
            return self._transport.follow(self.run_id, self._progress.cursor, relay=self.relay)
        return self._transport.start(self._request)

    async def _has_all(self) -> bool:
        """Return whether an empty stream means that the last event is known already."""
        if not self.run_id or not self._progress.after:
            return False
        run = await self._transport.get(self.run_id)
        return run.state == "ended" and run.last == self._progress.after

    def _take(self, received: Received) -> None:
        """Put aside what is to be yielded.

        Raises:
            ClientError: The stream is to be opened again, or is another run's.
        """
        if received.run_id and self.run_id not in {"", received.run_id}:
            raise ClientError("INTERNAL", f"The server sent an event of another run, {received.run_id}.")
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
        if verdict is Verdict.KNOWN:
            return  # no contact: a server that repeats itself for ever would be followed for ever
        self._retries.contact()
        if event is not None:
            self.waiting.append(Waiting(Item(str(event_id), event)))
            self.is_ended = isinstance(event, events.Done | events.Error)

    def _take_control(self, control: events.StreamEvent | events.ControlEvent) -> None:
        is_missing = False
        if isinstance(control, events.Resync):
            is_missing = self._progress.resync(parse_event_id(control.first).cursor)
        self.waiting.append(Waiting(Item("", control), is_missing))
