"""All processes of `make observe` as one: ready, or gone."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.observe.install import ROOT
from scripts.observe.listening import open_to_others
from scripts.observe.say import say, short
from scripts.observe.services import Service, inherited
from tokenwire.cli.supervision import PROBE_EVERY_S, Supervision
from tokenwire.processes import LAUNCHER, Child, explain_exit

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
        self._watched = Supervision(say, self._raise_for_the_dead)

    async def run(self, work: Coroutine[Any, Any, None]) -> int:
        """Do some work and stay until a signal asks for the end; return the exit status.

        Args:
            work: Starts the processes.
        """
        try:
            await self._watched.until_asked_to_stop(work)
        except ObserveError as error:
            say(f"{error}\nStopping all processes.")
            return 1
        finally:
            await self._watched.stop(STOP_WAIT_S)
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
        self._watched.children.append(Child(service.name, process))

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
        for child in self._watched.children:
            if addresses := open_to_others(child.pid):
                raise ObserveError(
                    f"{child.name} (pid {child.pid}) can be reached from other machines: it listens on "
                    f"{', '.join(addresses)}."
                )

    def _raise_for_the_dead(self, children: Sequence[Child]) -> None:
        for child in children:
            if child.exit.done():
                log = self._log(child.name)
                lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                how = explain_exit(child.exit.result())
                said = "\n".join(f"  {line}" for line in lines)
                raise ObserveError(
                    f"{child.name} (pid {child.pid}) {how}. Its last lines, from {short(log)}:\n{said}"
                )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.lower()}.log"
