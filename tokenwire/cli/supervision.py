"""Several processes that are ready, or gone, as one: watched until a signal asks for the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from tokenwire.processes import Child
from tokenwire.signals import means_hurry, stop_signals

PROBE_EVERY_S: Final = 0.1


class Supervision:
    """Watches processes, and ends them in the reverse of the order they were started in.

    Args:
        say: Tells the terminal.
        raise_for_the_dead: Given the processes whenever one may have ended: raises if one has.
    """

    def __init__(
        self, say: Callable[[str], None], raise_for_the_dead: Callable[[Sequence[Child]], None]
    ) -> None:
        self._say = say
        self._raise_for_the_dead = raise_for_the_dead
        self._asked_to_stop = asyncio.Event()
        self.children: list[Child] = []
        """The processes, in the order they were started in: add to it."""

    async def until_asked_to_stop(self, work: Awaitable[None]) -> None:
        """Return when a signal asks for the end: the work may be done long before.

        Args:
            work: Starts the processes. Cancelled when the end comes first.

        Raises:
            Exception: What `raise_for_the_dead` or the work has raised.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._on_signal, number)
        working = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._asked_to_stop.wait())
        try:
            while True:
                exits = [child.exit for child in self.children]
                waiting: list[asyncio.Future[Any]] = [stop, *exits, *([] if working.done() else [working])]
                # Others may be started while this waits: look again soon, until all are.
                await asyncio.wait(
                    waiting,
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=None if working.done() else PROBE_EVERY_S,
                )
                if stop.done():
                    return
                self._raise_for_the_dead(self.children)
                if working.done():
                    working.result()
        finally:
            working.cancel()
            stop.cancel()
            await asyncio.gather(working, stop, return_exceptions=True)

    async def stop(self, wait_s: float) -> None:
        """End all.

        Args:
            wait_s: What each may take, in seconds.
        """
        for child in reversed(self.children):
            await child.stop(wait_s, self._say)

    def _on_signal(self, number: signal.Signals) -> None:
        """End all in order at the first Ctrl-C, SIGTERM or closed terminal; at once at the second."""
        if not self._asked_to_stop.is_set():
            self._say("stopping (press Ctrl-C again to stop at once)")
            self._asked_to_stop.set()
        elif means_hurry(number):
            self._say("stopping at once: killing the remaining processes")
            for child in self.children:
                child.kill()
