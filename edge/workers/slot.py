"""A worker's place at the supervisor: its share of the port, and the process that has it now."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from edge.workers.backoff import RestartPauses
from edge.workers.plan import Place, report_socket
from tokenwire.processes import Child

_READY: Final = b"1"


class Slot:
    """One of the places.

    Args:
        number: From 1.
        workers: How many there are.
        listener: The socket that it has now.
        listen: Makes another one, after `release`.
        folder: Where the workers' Unix sockets are.
    """

    def __init__(
        self,
        number: int,
        workers: int,
        listener: socket.socket,
        listen: Callable[[], socket.socket],
        folder: str,
    ) -> None:
        self.name = f"edge worker {number}"
        self.pauses = RestartPauses()
        self.child: Child | None = None
        """The process that has the place, or had it last."""
        self._number = number
        self._workers = workers
        self._listener: socket.socket | None = listener
        self._listen = listen
        self._folder = folder
        self._reports = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._reports.bind(report_socket(folder, number))
        self._reports.listen()

    async def start(self, environment: Mapping[str, str]) -> asyncio.Task[bool]:
        """Start a process; return what is done when it serves (true), or has ended before (false).

        Args:
            environment: Its whole environment.

        Raises:
            OSError: The port is another program's by now.
        """
        self._listener = self._listener or self._listen()
        told, tell = os.pipe()
        inherited = (self._listener.fileno(), tell, self._reports.fileno())
        place = Place(self._number, self._workers, *inherited, self._folder, os.getpid())
        command = (sys.executable, "-m", "edge.workers.worker", msgspec.json.encode(place).decode())
        try:
            self.child = await Child.start(self.name, command, environment, descriptors=inherited)
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        return asyncio.create_task(_is_ready(told), name=f"{self.name} gets ready")

    def release(self) -> None:
        """Give the share of the port back: what waits there is refused, and what comes goes to the others."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Give all back. A worker that lives keeps what it has inherited."""
        self.release()
        self._reports.close()


async def _is_ready(pipe: int) -> bool:
    """Return whether a byte comes by a pipe before its end, and close it."""
    reader = asyncio.StreamReader()
    opened = os.fdopen(pipe, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), opened
    )
    try:
        return await reader.read(1) == _READY
    finally:
        transport.close()


def tell_ready(pipe: int) -> None:
    """Tell the supervisor that this worker serves.

    Args:
        pipe: The worker's end.
    """
    os.write(pipe, _READY)
    os.close(pipe)
