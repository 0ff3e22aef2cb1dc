"""One child process: started, watched, and ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tokenwire.numbers import plain_number

LAUNCHER = Path(__file__).with_name("launch.py")


class Child:
    """A process in a session of its own: the terminal's Ctrl-C does not reach it.

    It gets SIGTERM when this process dies, however that happens. It must be started in the
    main thread: the kernel watches the thread that started it.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.exit: asyncio.Task[int] = asyncio.create_task(process.wait(), name=f"exit of {name}")
        """Done when the process has ended, with its return code."""

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """Start a command.

        Args:
            name: What to call it.
            command: Program and arguments.
            environment: Its whole environment.
            descriptors: What it inherits besides its standard streams, under the same numbers.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            str(LAUNCHER),
            str(os.getpid()),
            *command,
            env=dict(environment),
            stdin=DEVNULL,
            start_new_session=True,
            pass_fds=tuple(descriptors),
        )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too."""
        return self.process.pid

    async def stop(self, wait_s: float, say: Callable[[str], None]) -> None:
        """Ask the process to end, wait, kill it if it does not; then kill what it left behind.

        Args:
            wait_s: How long it may take to end by itself, in seconds.
            say: Told when it had to be killed.
        """
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        await asyncio.wait([self.exit], timeout=wait_s)
        if not self.exit.done():
            say(f"{self.name} (pid {self.pid}) did not end within {plain_number(wait_s)} s: KILLED")
        self.kill()
        await self.exit

    def kill(self) -> None:
        """Kill the process and all that belong to its group; those gone already are no matter."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def explain_exit(code: int) -> str:
    """Return a return code in words: `was killed by SIGSEGV`, `ended with exit status 3`."""
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
