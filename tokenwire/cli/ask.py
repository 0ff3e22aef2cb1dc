"""`tokenwire ask`: one question, shown as its answer comes, resumed when the stream breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
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
from tokenwire.cli.show import JsonView, TextView, View

RESUME_WAITS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""How long is waited before each try to take a broken stream up again."""
SIGNAL_STATUS: Final = 128
"""What a shell adds to the number of the signal that ended a command."""


class Exit(IntEnum):
    """The exit status."""

    DONE = 0
    FAILED = 1
    UNREACHABLE = 3
    LOST = 4


def ask_and_show(  # noqa: PLR0913 - what the command line says
    question: Question, access: Access, *, via: str, core: str, url: str, as_json: bool
) -> int:
    """Ask, show all that comes, and return the exit status.

    Args:
        question: What is asked.
        access: What proves who asks.
        via: `grpc` or `sse`.
        core: HOST:PORT of the core, for grpc.
        url: The edge, for sse.
        as_json: Whether each event is printed as a line of JSON.
    """
    view: View = JsonView(sys.stdout, sys.stderr) if as_json else TextView(sys.stdout, sys.stderr)
    try:
        return asyncio.run(_ask(question, view, lambda: _open(via, core, url, access)))
    except BrokenPipeError:
        # Whoever read the answer has left, as `head` does. Python would complain at exit: nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNAL_STATUS + signal.SIGPIPE


async def _ask(question: Question, view: View, open_door: Callable[[], Door]) -> int:
    door = open_door()  # within the loop that uses it
    asking = Asking(door, question, view)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asking.stop, number)
    try:
        return await asking.run()
    finally:
        await door.aclose()


def _open(via: str, core: str, url: str, access: Access) -> Door:
    """Return the door; only its own libraries are loaded, they take a moment."""
    if via == "sse":
        from tokenwire.cli.sse_door import SseDoor  # noqa: PLC0415

        return SseDoor(url, access)
    from tokenwire.cli.grpc_door import GrpcDoor  # noqa: PLC0415

    return GrpcDoor(core, access)


class Asking:
    """One question on its way.

    Args:
        door: Where it is asked.
        question: What is asked.
        view: Shows what comes.
    """

    def __init__(self, door: Door, question: Question, view: View) -> None:
        self._door = door
        self._question = question
        self._view = view
        self._last_id = ""
        self._failed_tries = 0
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
            await self._cancel()
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
        self._view.say("stopping the run (again to leave at once)")
        # Its id is not known before its first event: then that event is awaited.
        if self._door.run_id:
            self._cancel_soon()

    async def _read_to_the_end(self) -> Exit:
        """Show the run, taking it up again where the stream breaks."""
        stream = self._door.start(self._question)
        while True:
            try:
                terminal = await self._show_all(stream)
                problem = "the stream ended before the run"
            except (UnreachableError, BrokenError) as error:
                if not self._door.run_id:
                    return self._fail(Exit.UNREACHABLE, error)
                terminal, problem = None, str(error)
            except RefusedError as error:
                return self._fail(Exit.LOST if self._door.run_id else Exit.FAILED, error)
            if terminal is not None:
                return Exit.FAILED if terminal.type == "error" else Exit.DONE
            if not self._door.run_id:
                return self._fail(Exit.UNREACHABLE, f"{self._door.place} ended the stream before it began")
            if self._failed_tries == len(RESUME_WAITS_S):
                where = f"the run is {self._door.run_id}"
                return self._fail(Exit.LOST, f"The stream was lost and can't be taken up again; {where}.")
            self._view.say(f"{problem}: taking it up again")
            await asyncio.sleep(RESUME_WAITS_S[self._failed_tries])
            self._failed_tries += 1
            stream = self._door.follow(self._last_id)

    async def _show_all(self, stream: AsyncIterator[Received]) -> Received | None:
        """Show a stream's events; return the terminal one, or None when it ended without."""
        async with aclosing(stream) as items:  # type: ignore[type-var] # doors are async generators
            async for item in items:
                if self._stopped_by and self._cancelling is None:
                    self._cancel_soon()
                self._view.show(item)
                if item.is_terminal:
                    return item
                if item.id:
                    self._last_id = item.id
                    self._failed_tries = 0
        return None

    def _cancel_soon(self) -> None:
        self._cancelling = asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        """Stop the run at the server."""
        try:
            if self._door.run_id:
                await self._door.cancel()
        except DoorError as error:
            self._view.say(f"the run could not be stopped: {error}")
            self._reading.cancel()

    async def _give_up(self, reading: asyncio.Task[Exit]) -> int:
        """Stop a run that takes too long, and show what it still says."""
        limit = f"{self._question.timeout_s:g} s"
        await self._cancel()
        await asyncio.wait([reading], timeout=self._door.guard_s or 1.0)
        self._finish()
        self._view.say(f"DEADLINE_EXCEEDED: the run took longer than {limit}")
        return Exit.FAILED

    def _fail(self, status: Exit, problem: DoorError | str) -> Exit:
        self._finish()
        self._view.say(str(problem))
        return status

    def _status(self, status: Exit) -> int:
        """Return the exit status: that of the signal when one stopped the run."""
        return SIGNAL_STATUS + self._stopped_by if self._stopped_by else status

    def _finish(self) -> None:
        self._view.finish()
