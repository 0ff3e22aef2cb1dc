"""A real Redis (or Valkey) on a free loopback port: started, disturbed, and ended for certain."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import redis

from tests.support import system
from tests.support.processes import Running, clean_environment, free_port, wait_until


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


class RedisSentinel:
    """One Sentinel, the primary that it watches, and its replica: all end with the context.

    Args:
        folder: Where their data and their output go.
    """

    SERVICE = "mymaster"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.primary = self._server("one", "--repl-diskless-sync-delay", "0")
        self.replica = self._server("two", "--replicaof", "127.0.0.1", str(self.primary.port))
        self.port = free_port()
        self.client = redis.Redis(port=self.port, socket_timeout=10)
        self._stack.callback(self.client.close)
        self._start()
        wait_until(self._is_ready, "Sentinel knows the replica")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """As TOKENWIRE_STORE names it; the first address refuses connections."""
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.port}/{self.SERVICE}/0"

    @property
    def primary_port(self) -> int:
        """The port of the server that is the primary now."""
        address: Any = self.client.sentinel_get_master_addr_by_name(self.SERVICE)
        return int(address[1])

    def fail_over(self) -> None:
        """Have the replica made the primary in good order, and return when it is."""
        before = self.primary_port
        wait_until(self._fails_over, "Sentinel takes the order")
        wait_until(lambda: self.primary_port != before, "the replica is the primary")

    def _server(self, name: str, *options: str) -> RedisServer:
        folder = self._folder / name
        folder.mkdir()
        server = RedisServer(folder, *options)
        self._stack.callback(server.stop)
        return server

    def _start(self) -> None:
        program = system.find("redis")
        assert program is not None
        file = self._folder / "sentinel.conf"
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.primary.port} 1",
            f"sentinel down-after-milliseconds {self.SERVICE} 500",
            f"sentinel failover-timeout {self.SERVICE} 3000",
        )
        file.write_text("\n".join(lines) + "\n")
        running = Running(
            f"sentinel-{self.port}",
            [program, str(file), "--sentinel"],
            environment=clean_environment(),
            folder=self._folder,
        )
        self._stack.callback(running.stop)
        running.wait_ready(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def _is_ready(self) -> bool:
        replicas = self.client.sentinel_slaves(self.SERVICE)
        info = self.primary.client.info("replication")
        return len(replicas) == 1 and info.get("slave0", {}).get("state") == "online"

    def _fails_over(self) -> bool:
        try:
            return bool(self.client.sentinel_failover(self.SERVICE))
        except redis.ResponseError:
            return False  # It has not looked at the replica for long enough.
