"""A way to a server that is written down, for the client's and the command line's unit tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import pytest

from tokenwire import events
from tokenwire.client import ClientError, UnreachableError
from tokenwire.client.transport import Answer, Page, Received, StartRequest
from tokenwire.cursor import Cursor, EventId
from tokenwire.runs import RunView, SessionRuns, Transcript

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


def at(sequence: int, event: events.StreamEvent | None, epoch: int = 1) -> Received:
    """Return an event of the run."""
    return Received(RUN_ID, EventId(RUN_ID, Cursor(epoch, sequence)), event)


def started() -> Received:
    """Return a run's first event."""
    return at(1, events.RunStarted(timestamp=1, run_id=RUN_ID, agent="a"))


def text(sequence: int, content: str, first: int | None = None) -> Received:
    """Return a piece of the answer."""
    return at(sequence, events.TextDelta(timestamp=1, content=content, first=first))


def done(sequence: int, reason: str = "stop", final_message: str = "", epoch: int = 1) -> Received:
    """Return the end of a run."""
    event = events.Done(timestamp=1, final_message=final_message, finish_reason=reason)
    return at(sequence, event, epoch)


def failed(sequence: int, code: str = "INTERNAL", message: str = "Oh.") -> Received:
    """Return the end of a run that failed."""
    return at(sequence, events.Error(timestamp=1, code=code, message=message, retryable=False))


def own_error(code: str, message: str, *, retryable: bool) -> Received:
    """Return an error of the edge itself."""
    return Received("", None, events.Error(timestamp=1, code=code, message=message, retryable=retryable))


def control(event: events.ControlEvent, retry_s: float | None = None) -> Received:
    """Return what is said between events."""
    return Received(RUN_ID, None, event, retry_s)


class ScriptedTransport:
    """Its streams are written down: items are yielded, exceptions raised.

    `...` waits for a cancel, a float for so many seconds.
    """

    guard_s = 0.05
    is_dense = True

    def __init__(self, *streams: Iterable[object]) -> None:
        self.starts: list[StartRequest] = []
        self.follows: list[str] = []
        self.relays: list[bool] = []
        self.answers: list[Answer] = []
        self.answer_errors: list[ClientError] = []
        """What the next answers are refused with."""
        self.cancels = 0
        self.left: list[str] = []
        self.turns = 0
        self.open = 0
        """How many streams are."""
        self.is_closed = False
        self.cancel_error: ClientError | None = None
        self.view = view("running", None)
        """What `get` answers."""
        self.is_out_of_reach = True
        self._streams = list(streams)
        self.cancelled = asyncio.Event()

    async def send_input(self, answer: Answer) -> str:
        self.answers.append(answer)
        if self.answer_errors:
            raise self.answer_errors.pop(0)
        return "declined" if answer.value_json is None else "answered"

    def fork(self) -> ScriptedTransport:
        return self

    async def _next(self) -> AsyncGenerator[Received, None]:
        self.open += 1
        try:
            for item in self._streams.pop(0):
                self.is_out_of_reach = isinstance(item, UnreachableError) and self.is_out_of_reach
                if isinstance(item, Exception):
                    raise item
                if item is ...:
                    await self.cancelled.wait()
                    continue
                if isinstance(item, float):
                    await asyncio.sleep(item)
                    continue
                assert isinstance(item, Received)
                yield item
        finally:
            self.open -= 1

    def start(self, request: StartRequest) -> AsyncGenerator[Received, None]:
        self.starts.append(request)
        return self._next()

    def follow(self, run_id: str, after: Cursor | None, *, relay: bool) -> AsyncGenerator[Received, None]:
        assert run_id == RUN_ID
        self.follows.append(f"{after.epoch}.{after.sequence}" if after else "")
        self.relays.append(relay)
        return self._next()

    async def turn(self) -> None:
        self.turns += 1

    async def cancel(self, run_id: str) -> RunView:
        assert run_id == RUN_ID
        self.cancels += 1
        if self.cancel_error:
            raise self.cancel_error
        self.cancelled.set()
        return view("cancelling", None)

    async def leave(self, run_id: str) -> None:
        self.left.append(run_id)

    async def get(self, run_id: str) -> RunView:
        assert run_id == RUN_ID
        return self.view

    async def runs(self, page: Page) -> SessionRuns:
        del page
        return SessionRuns([self.view], "")

    async def transcript(self, page: Page) -> Transcript:
        del page
        return Transcript([], "")

    async def aclose(self) -> None:
        self.is_closed = True


def view(state: str, last: str | None) -> RunView:
    """Return a run's state."""
    return RunView(
        run_id=RUN_ID,
        session_id="",
        agent="a",
        state=state,
        on_disconnect="grace",
        first=None,
        last=last,
        terminal=None,
        create_time=None,
        end_time=None,
        expire_time=None,
    )


def use(transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all clients use it, and try again without a pause."""
    monkeypatch.setattr("tokenwire.client.client.open_transport", lambda *_: transport)
    monkeypatch.setattr("tokenwire.client.retrying.FIRST_WAIT_S", 0.0)
