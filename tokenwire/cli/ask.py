"""`tokenwire ask`: one question, shown as its answer comes, resumed when the stream breaks."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from enum import IntEnum
from typing import Final

from tokenwire.cli.doors import (
    Access,
    BrokenError,
    Door,
    DoorError,
    Question,
    Received,
    RefusedError,
    UnreachableError,
)
from tokenwire.cli.place import Place, Verdict
from tokenwire.cli.show import JsonView, TextView, View
from tokenwire.numbers import plain_number

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
"""How long is waited before a try to take a broken stream up again: it doubles with each."""
CANCEL_PATIENCE_S: Final = 2.0
"""How long stopping a run is tried when nobody waits for its end any more."""
SIGNAL_STATUS: Final = 128
"""What a shell adds to the number of the signal that ended a command."""


class Exit(IntEnum):
    """The exit status."""

    DONE = 0
    FAILED = 1
    UNREACHABLE = 3
    LOST = 4


def ask_and_show(  # noqa: PLR0913 - what the command line says
    question: Question,
    access: Access,
    *,
    via: str,
    cores: Sequence[str],
    url: str,
    as_json: bool,
    patience_s: float,
) -> int:
    """Ask, show all that comes, and return the exit status.

    Args:
        question: What is asked.
        access: What proves who asks.
        via: `grpc` or `sse`.
        cores: The core's address, or those of several, for grpc.
        url: The edge, for sse.
        as_json: Whether each event is printed as a line of JSON.
        patience_s: How long a broken stream is tried to be taken up without contact, in seconds.
    """
    view: View = JsonView(sys.stdout, sys.stderr) if as_json else TextView(sys.stdout, sys.stderr)
    try:
        return asyncio.run(_ask(question, view, lambda: _open(via, cores, url, access), patience_s))
    except BrokenPipeError:
        # Whoever read the answer has left, as `head` does. Python would complain at exit: nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNAL_STATUS + signal.SIGPIPE


async def _ask(question: Question, view: View, open_door: Callable[[], Door], patience_s: float) -> int:
    door = open_door()  # within the loop that uses it
    asking = Asking(door, question, view, patience_s=patience_s)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asking.stop, number)
    try:
        return await asking.run()
    finally:
        await door.aclose()


def _open(via: str, cores: Sequence[str], url: str, access: Access) -> Door:
    """Return the door; only its own libraries are loaded, they take a moment."""
    if via == "sse":
        from tokenwire.cli.sse_door import SseDoor  # noqa: PLC0415

        return SseDoor(url, access)
    from tokenwire.cli.grpc_door import GrpcDoor  # noqa: PLC0415

    return GrpcDoor(cores, access)


class Asking:
    """One question on its way.

    Args:
        door: Where it is asked.
        question: What is asked.
        view: Shows what comes.
        patience_s: How long it is tried without contact, in seconds.
    """

    def __init__(self, door: Door, question: Question, view: View, *, patience_s: float) -> None:
        self._door = door
        self._question = question
        self._view = view
        self._patience_s = patience_s
        self._place = Place(is_dense=door.is_dense)
        self._tries = 0
        """Streams without contact."""
        self._heard_s = 0.0
        """When the last contact ended."""
        self._stopped_by = 0
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Return the exit status once the run has ended, or can't be heard of any more."""
        reading = asyncio.create_task(self._read_to_the_end())
        self._reading = reading
        limit_s = self._question.timeout_s
        try:
            await asyncio.wait([reading], timeout=None if limit_s is None else limit_s + self._door.guard_s)
            if not reading.done():
                return await self._give_up(reading)
            return self._status(reading.result())
        except asyncio.CancelledError:
            # The second Ctrl-C.
            return SIGNAL_STATUS + self._stopped_by
        except BrokenPipeError:
            await self._cancel(CANCEL_PATIENCE_S)
            raise
        finally:
            reading.cancel()
            await asyncio.gather(reading, *filter(None, [self._cancelling]), return_exceptions=True)
            self._finish()

    def stop(self, number: int) -> None:
        """Stop the run at the first signal; leave at once at the second.

        Args:
            number: The signal's number.
        """
        if self._stopped_by:
            self._reading.cancel()
            if self._cancelling:
                self._cancelling.cancel()
            return
        self._stopped_by = number
        self._view.say("stopping the run (press Ctrl-C again to exit at once)")
        # Its id is not known before its first event: then that event is awaited.
        if self._door.run_id:
            self._cancel_soon()

    async def _read_to_the_end(self) -> Exit:
        """Show the run, taking it up again where the stream breaks."""
        stream = self._door.start(self._question)
        while True:
            try:
                terminal = await self._show_all(stream)
                problem: DoorError = BrokenError("the stream ended before the run")
            except DoorError as error:
                terminal, problem = None, error
            if terminal is not None:
                return Exit.FAILED if terminal.type == "error" else Exit.DONE
            if self._tries == 0:
                self._heard_s = time.monotonic()
            pause_s = self._pause_s(problem)
            if self._is_final(problem) or time.monotonic() + pause_s > self._heard_s + self._patience_s:
                return self._fail(problem)
            if self._tries == 0:
                again = "resuming" if self._door.run_id else "trying again"
                self._view.say(f"{problem}: {again}")
            self._tries += 1
            await asyncio.sleep(pause_s)
            await self._door.turn()
            stream = (
                self._door.follow(self._place.after)
                if self._door.run_id
                else self._door.start(self._question)
            )

    async def _show_all(self, stream: AsyncIterator[Received]) -> Received | None:
        """Show a stream's events; return the terminal one, or None when it ended without.

        Raises:
            DoorError: It broke, was refused, or left events out.
        """
        async with aclosing(stream) as items:  # type: ignore[type-var] # doors are async generators
            async for item in items:
                if self._stopped_by and self._cancelling is None:
                    self._cancel_soon()
                verdict = self._take(item)
                if verdict is Verdict.MISSING:
                    raise BrokenError("events are missing")
                self._tries = 0
                if verdict is Verdict.FRESH:
                    self._view.show(item)
                    if item.is_terminal:
                        return item
        return None

    def _take(self, item: Received) -> Verdict:
        """Return what is to be done with what came.

        Raises:
            BrokenError: The edge has no way to the run at the moment: it said so in an error of its own.
        """
        if item.is_control:
            if item.type == "resync":
                self._place.resync(str(item.fields.get("first", "")))
            return Verdict.FRESH
        is_own = item.type == "error" and not item.id
        if is_own and self._door.run_id and item.fields.get("retryable"):
            raise BrokenError(f"{item.fields.get('code')}: {item.fields.get('message')}")
        return self._place.take(item)

    def _is_final(self, problem: DoorError) -> bool:
        """Return whether trying again would not help."""
        if isinstance(problem, RefusedError):
            return problem.retry_s is None
        is_start = not self._door.run_id
        return isinstance(problem, UnreachableError) and is_start and self._door.is_out_of_reach

    def _pause_s(self, problem: DoorError) -> float:
        """Return how long to wait: spread, so that not all come back at once to a server that was away."""
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self._tries, 10), LONGEST_PAUSE_S)
        told_s = (problem.retry_s or 0.0) if isinstance(problem, RefusedError) else self._door.retry_s
        return max(pause_s * random.uniform(0.5, 1), told_s)  # noqa: S311 - jitter, no secret

    def _cancel_soon(self) -> None:
        self._cancelling = asyncio.create_task(self._cancel(self._patience_s))

    async def _cancel(self, patience_s: float) -> None:
        """Stop the run at the server."""
        deadline_s = time.monotonic() + patience_s
        while self._door.run_id:
            try:
                await self._door.cancel()
            except DoorError as error:
                if self._is_final(error) or time.monotonic() > deadline_s:
                    self._view.say(f"the run could not be stopped: {error}")
                    self._reading.cancel()
                    return
                await asyncio.sleep(self._pause_s(error))
            else:
                return

    async def _give_up(self, reading: asyncio.Task[Exit]) -> int:
        """Stop a run that takes too long, and show what it still says."""
        limit = f"{plain_number(self._question.timeout_s or 0)} s"
        await self._cancel(CANCEL_PATIENCE_S)
        await asyncio.wait([reading], timeout=self._door.guard_s or 1.0)
        self._finish()
        self._view.say(f"DEADLINE_EXCEEDED: the run took longer than {limit}")
        return Exit.FAILED

    def _fail(self, problem: DoorError) -> Exit:
        """Say why there is no end, and return the exit status for it."""
        self._finish()
        self._view.say(str(problem))
        if not self._door.run_id:
            return Exit.FAILED if isinstance(problem, RefusedError) else Exit.UNREACHABLE
        if not self._is_final(problem):
            self._view.say(f"The stream was lost and can't be resumed; the run is {self._door.run_id}.")
        return Exit.LOST

    def _status(self, status: Exit) -> int:
        """Return the exit status: that of the signal when one stopped the run."""
        return SIGNAL_STATUS + self._stopped_by if self._stopped_by else status

    def _finish(self) -> None:
        self._view.finish()
