"""A real Redis (or Valkey) on a free loopback port: started, disturbed, and ended for certain."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import redis

from tests.support import system
from tests.support.processes import Running, clean_environment, free_port


class RedisServer:
    """One server. It keeps its port and its folder when it is started again.

    Args:
        folder: Where its data and its output go.
        options: Further words of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self._options = options
        self._starts = 0
        self.client = redis.Redis(port=self.port, socket_timeout=10)
        """A client for tests that disturb it. It connects anew after a restart."""
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return once it answers."""
        self._starts += 1
        program = system.find("redis")
        assert program is not None
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self._running = Running(
            f"redis-{self.port}-{self._starts}",
            [*command, "--save", "", *self._options],
            environment=clean_environment(),
            folder=self.folder,
        )
        self._running.wait_ready(self._answers)

    def stop(self) -> None:
        """End it in good order."""
        self.client.close()
        self._running.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._running.send(signal.SIGKILL)
        self._running.wait()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stop it from answering for a while, with its connections open."""
        pid = self._server_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _server_pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


@cache
def shared_redis() -> RedisServer:
    """Return the server that all tests of one run share, each with a prefix of its own."""
    return RedisServer(Path(tempfile.mkdtemp(prefix="tokenwire-redis-")))


def stop_shared_redis() -> None:
    """End that server, where it was started."""
    if shared_redis.cache_info().currsize:
        shared_redis().stop()
        shared_redis.cache_clear()
