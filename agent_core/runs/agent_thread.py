"""The thread of an agent that is not async: one for each of its runs."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from agent_core.agents.events import AgentError
from tokenwire.reasons import Reason

Result = TypeVar("Result")

END: Final = object()
"""What `next` gives at an iterator's end: no future can hold StopIteration."""

MAX_BUSY: Final = 512
"""Threads of runs that were stopped which may still be busy before no further one is begun. Each Stop of an
agent that blocks leaves one, and a process has only so many: without threads, its store fails too."""

_leaving: Final[set[AgentThread]] = set()
"""Threads that are to end, and have not yet: their code goes on, or hangs."""

logger = logging.getLogger(__name__)


class AgentThread:
    """Does one thing after the other, in the context of the task that made it.

    A thread of its own and not one of a pool: what a library keeps for each thread (a connection of sqlite3,
    an event loop) is there again at the next item. A daemon: code that hangs keeps no core from ending.

    Args:
        name: The thread's name.

    Raises:
        AgentError: Too many threads of runs that were stopped are still busy.
    """

    def __init__(self, name: str) -> None:
        if len(_leaving) >= MAX_BUSY:
            raise AgentError(
                "RESOURCE_EXHAUSTED",
                "Too many stopped runs are still busy. Try again later.",
                retryable=True,
                details={"reason": Reason.AGENT_BUSY},
            )
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def do(self, work: Callable[[], Result]) -> Result:
        """Return what some work gives. Where this is cancelled, the work goes on, and its result is dropped.

        Raises:
            BaseException: What the work raises.
        """
        done: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put(partial(self._do, work, done))
        return await done

    def end(self, last: Callable[[], object] | None = None) -> None:
        """End the thread when it has done what it was given. Nothing may follow.

        Args:
            last: Done before. What it raises is logged.
        """
        if last is not None:
            self._jobs.put(partial(self._clean_up, last))
        _leaving.add(self)
        self._jobs.put(None)

    @staticmethod
    async def busy(timeout_s: float = 0.0) -> int:
        """Return how many threads of this event loop still do what they were given, though they are to end.

        Args:
            timeout_s: How long to wait for them, in seconds.
        """
        loop = asyncio.get_running_loop()
        ends = [thread._ended for thread in tuple(_leaving) if thread._loop is loop]  # noqa: SLF001 # of this class
        if not ends:
            return 0
        _, busy = await asyncio.wait(ends, timeout=timeout_s)
        return len(busy)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._context.run(job)
        _leaving.discard(self)
        self._settle(self._ended, partial(self._ended.set_result, None))

    def _do(self, work: Callable[[], Result], done: asyncio.Future[Result]) -> None:
        try:
            result = work()
        except StopIteration as error:
            self._settle(done, partial(done.set_exception, RuntimeError(f"the agent raised {error!r}")))
        except BaseException as error:  # noqa: BLE001 # the run's task raises it
            self._settle(done, partial(done.set_exception, error))
        else:
            self._settle(done, partial(done.set_result, result))

    def _settle(self, done: asyncio.Future[Any], settle: Callable[[], None]) -> None:
        """Settle a future in its loop, unless it was cancelled."""
        with suppress(RuntimeError):  # the loop is closed: the core has ended
            self._loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    @staticmethod
    def _clean_up(last: Callable[[], object]) -> None:
        try:
            last()
        except BaseException:
            logger.exception("an agent that was stopped raised while it was closed")


class ThreadedStream:
    """An iterator that is not async, read in a thread: one item at a time, when it is asked for.

    A run that is stopped ends at once, also where the thread is busy: the generator is closed, and its
    `finally` blocks run, as soon as it comes to its next `yield`.

    Args:
        items: The iterator.
        thread: Where it is read; ended with it.
    """

    def __init__(self, items: Iterator[object], thread: AgentThread) -> None:
        self.items = items
        """The iterator, to see where it stands."""
        self._thread = thread
        self._is_closed = False

    def __aiter__(self) -> ThreadedStream:
        return self

    async def __anext__(self) -> object:
        item = await self._thread.do(partial(next, self.items, END))
        if item is END:
            await self.aclose()
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Have the generator closed, without waiting for it."""
        if not self._is_closed:
            self._is_closed = True
            self._thread.end(getattr(self.items, "close", None))
