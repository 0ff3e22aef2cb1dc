"""All processes of `make observe` as one: ready, or gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from scripts.observe.install import ROOT
from scripts.observe.listening import open_to_others
from scripts.observe.say import say, short
from scripts.observe.services import Service, inherited
from tokenwire.cli.children import LAUNCHER, Child, explain_exit
from tokenwire.signals import means_hurry, stop_signals

PROBE_EVERY_S: Final = 0.2
REMIND_AFTER_S: Final = 30.0
STOP_WAIT_S: Final = 30.0
"""What a process may take to end; the product lets runs go on for a second and exports its last spans."""
LAST_LINES: Final = 15


class ObserveError(Exception):
    """All must end with status 1. Its text is fit for the terminal."""


class Supervisor:
    """Starts processes, watches them, and ends them in the reverse order.

    Args:
        logs: The folder of their output: a file for each.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []
        self._asked_to_stop = asyncio.Event()

    async def run(self, work: Coroutine[Any, Any, None]) -> int:
        """Do some work and stay until a signal asks for the end; return the exit status.

        Args:
            work: Starts the processes.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            await self._until_over(asyncio.ensure_future(work))
        except ObserveError as error:
            say(f"{error}\nEnding all.")
            return 1
        finally:
            await self._stop()
        return 0

    async def start(self, service: Service) -> None:
        """Start a process in a session of its own: the terminal's Ctrl-C does not reach it."""
        with self._log(service.name).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", str(LAUNCHER), str(os.getpid()), *service.command),
                env={**inherited(), **service.environment},
                cwd=ROOT,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        self._children.append(Child(service.name, process))

    async def wait_ready(self, service: Service) -> None:
        """Return when a process is ready. There is no deadline: the first start may fetch the model."""
        loop = asyncio.get_running_loop()
        remind_at = loop.time() + REMIND_AFTER_S
        while not await service.is_ready():
            if loop.time() > remind_at:
                say(f"still waiting for {service.name}: see {short(self._log(service.name))}")
                remind_at = loop.time() + REMIND_AFTER_S
            await asyncio.sleep(PROBE_EVERY_S)

    def check_exposure(self) -> None:
        """Look at what the processes listen on.

        Raises:
            ObserveError: One can be reached from another machine.
        """
        for child in self._children:
            if addresses := open_to_others(child.pid):
                raise ObserveError(
                    f"{child.name} (pid {child.pid}) can be reached from other machines: it listens on "
                    f"{', '.join(addresses)}."
                )

    async def _until_over(self, working: asyncio.Future[None]) -> None:
        """Return when a signal asks for the end.

        Raises:
            ObserveError: A process ended first, or the work failed.
        """
        stop = asyncio.create_task(self._asked_to_stop.wait())
        try:
            while True:
                exits = [child.exit for child in self._children]
                waiting: list[asyncio.Future[Any]] = [stop, *exits, *([] if working.done() else [working])]
                # Others may be started while this waits: look again soon, until all are.
                await asyncio.wait(
                    waiting,
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=None if working.done() else PROBE_EVERY_S,
                )
                if stop.done():
                    return
                self._raise_for_the_dead()
                if working.done():
                    working.result()
        finally:
            working.cancel()
            stop.cancel()
            await asyncio.gather(working, stop, return_exceptions=True)

    def _raise_for_the_dead(self) -> None:
        for child in self._children:
            if child.exit.done():
                log = self._log(child.name)
                lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                how = explain_exit(child.exit.result())
                said = "\n".join(f"  {line}" for line in lines)
                raise ObserveError(
                    f"{child.name} (pid {child.pid}) {how}. Its last lines, from {short(log)}:\n{said}"
                )

    def _on_signal(self, number: signal.Signals) -> None:
        """End all in order at the first Ctrl-C, SIGTERM or closed terminal; at once at the second."""
        if not self._asked_to_stop.is_set():
            say("stopping (again to stop at once)")
            self._asked_to_stop.set()
        elif means_hurry(number):
            say("asked again to stop: killing what is left")
            for child in self._children:
                child.kill()

    async def _stop(self) -> None:
        for child in reversed(self._children):
            await child.stop(STOP_WAIT_S, say)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.lower()}.log"
