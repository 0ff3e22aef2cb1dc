"""`tokenwire ask`: one question, shown as its answer comes, resumed when the stream breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tokenwire.cli.access import Access
from tokenwire.cli.prompts import Prompts
from tokenwire.cli.show import JsonView, TextView, View
from tokenwire.client import ClientError, DeadlineExceededError, Item, RefusedError, Run
from tokenwire.events import Error, InputReceived, InputRequested
from tokenwire.numbers import plain_number

CANCEL_PATIENCE_S: Final = 2.0
"""How long stopping a run is tried when nobody waits for its end any more."""
SIGNAL_STATUS: Final = 128
"""What a shell adds to the number of the signal that ended a command."""


class Exit(IntEnum):
    """The exit status."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    UNREACHABLE = 3
    LOST = 4


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    message: str
    """What the user says."""
    agent: str = ""
    """The agent; empty for the core's default."""
    session_id: str = ""
    """The conversation; empty for none."""
    timeout_s: float | None = None
    """The longest time that the run may take, in seconds; None for the server's limit."""


def ask_and_show(question: Question, access: Access, *, as_json: bool, patience_s: float) -> int:
    """Ask, show all that comes, and return the exit status.

    Args:
        question: What is asked.
        access: The server, and what authenticates there.
        as_json: Whether each event is printed as a line of JSON.
        patience_s: How long a broken stream is tried to be taken up without contact, in seconds.
    """
    view: View = JsonView(sys.stdout, sys.stderr) if as_json else TextView(sys.stdout, sys.stderr)
    try:
        terminal = sys.stdin.fileno() if sys.stdin.isatty() and not as_json else None
        return asyncio.run(_ask(Asking(access, question, view, patience_s=patience_s, terminal=terminal)))
    except BrokenPipeError:
        # Whoever read the answer has left, as `head` does. Python would complain at exit: nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNAL_STATUS + signal.SIGPIPE


async def _ask(asking: Asking) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asking.stop, number)
    return await asking.run()


class Asking:
    """One question on its way.

    Args:
        access: Where it is asked.
        question: What is asked.
        view: Shows what comes.
        patience_s: How long it is tried without contact, in seconds.
        terminal: The descriptor of the terminal where the run's questions are answered; None where that is
            elsewhere.
    """

    def __init__(
        self,
        access: Access,
        question: Question,
        view: View,
        *,
        patience_s: float,
        terminal: int | None = None,
    ) -> None:
        self._access = access
        self._question = question
        self._view = view
        self._patience_s = patience_s
        self._terminal = terminal
        self._run: Run | None = None
        self._stopped_by = 0
        self._reading: asyncio.Task[Exit] | None = None
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Return the exit status once the run has ended, or can't be heard of any more."""
        self._reading = asyncio.create_task(self._read_to_the_end())
        try:
            status = await self._reading
        except asyncio.CancelledError:
            # The second Ctrl-C.
            return SIGNAL_STATUS + self._stopped_by
        finally:
            self._reading.cancel()
            await asyncio.gather(self._reading, *filter(None, [self._cancelling]), return_exceptions=True)
            self._view.finish()
        # When a signal stopped the run, its own is the status.
        return SIGNAL_STATUS + self._stopped_by if self._stopped_by else status

    def stop(self, number: int) -> None:
        """Stop the run at the first signal; leave at once at the second.

        Args:
            number: The signal's number.
        """
        if self._stopped_by:
            for task in filter(None, (self._reading, self._cancelling)):
                task.cancel()
            return
        self._stopped_by = number
        self._view.say("stopping the run (press Ctrl-C again to exit at once)")
        # Its id is not known before its first event: then that event is awaited.
        if self._run is not None:
            self._cancelling = asyncio.create_task(self._cancel(self._run))

    async def _read_to_the_end(self) -> Exit:
        """Show the run, and return the exit status."""
        try:
            client = self._access.client(self._patience_s, self._on_retry)
        except ValueError as error:
            self._view.say(str(error))
            return Exit.WRONG_USAGE
        async with client:
            try:
                question = self._question
                self._run = run = await client.start(
                    question.message,
                    agent=question.agent,
                    session_id=question.session_id,
                    timeout_s=question.timeout_s,
                )
                return await self._show_all(run)
            except DeadlineExceededError:
                self._view.finish()
                limit = plain_number(self._question.timeout_s or 0)
                self._view.say(f"DEADLINE_EXCEEDED: the run took longer than {limit} s")
                return Exit.FAILED
            except ClientError as error:
                return self._fail(error)

    async def _show_all(self, run: Run) -> Exit:
        """Show a run's events, and return the exit status.

        Raises:
            ClientError: They can't be had.
        """
        if self._stopped_by:
            self._cancelling = asyncio.create_task(self._cancel(run))
        prompts = Prompts(run, self._view, self._terminal, self._access.how_to_answer)
        try:
            async for item in run.items(controls=True):
                self._view.show(item)
                if isinstance(item.event, InputRequested):
                    prompts.requested(item.event)
                elif isinstance(item.event, InputReceived):
                    prompts.received(item.event)
        except BrokenPipeError:
            await run.cancel(patience_s=CANCEL_PATIENCE_S)
            raise
        finally:
            await prompts.aclose()
        return Exit.FAILED if isinstance(run.terminal, Error) else Exit.DONE

    async def _cancel(self, run: Run) -> None:
        """Stop the run at the server."""
        try:
            await run.cancel()
        except ClientError as error:
            self._view.say(f"the run could not be stopped: {self._access.describe(error)}")
            if self._reading is not None:
                self._reading.cancel()

    def _on_retry(self, problem: ClientError, failures: int) -> None:
        if failures == 1:
            again = "resuming" if problem.run_id else "trying again"
            self._view.say(f"{self._access.describe(problem)}: {again}")

    def _fail(self, problem: ClientError) -> Exit:
        """Say why there is no end, and return the exit status for it."""
        if isinstance(problem, RefusedError) and problem.event is not None and not problem.retryable:
            self._view.show(Item("", problem.event))
            return Exit.FAILED
        self._view.finish()
        self._view.say(self._access.describe(problem))
        if not problem.run_id:
            return Exit.FAILED if isinstance(problem, RefusedError) else Exit.UNREACHABLE
        if problem.retryable:
            self._view.say(f"The stream was lost and can't be resumed; the run is {problem.run_id}.")
        return Exit.LOST
