"""Real processes on free loopback ports: started, watched, and ended for certain."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCHER = ROOT / "tokenwire" / "processes" / "launch.py"
TOKENWIRE = (sys.executable, "-c", "from tokenwire.cli import main; main()")
"""The command `tokenwire`, of this checkout and under this interpreter."""

SCRIPTED = ("scripted", "slow", "silent", "echo", "raises_after", "refuses")
"""The agents of tests/support/agents.py that processes offer unless told otherwise."""

PORTS = range(20_000, 32_000)
"""Below those that Linux (from 32768) and others (from 49152) give to outgoing connections."""
PORTS_PER_WORKER = 750

PATIENT: Final = {"TOKENWIRE_COMMIT_MS": "10000"}
"""For an edge of which a test reads the header `Run-Id`: on a busy machine it is not there within 250 ms."""

READY_S = 60.0
STOP_S = 30.0
POLL_S = 0.02
READY_LINE = re.compile(r"^Tokenwire is ready: (\S+)$", re.MULTILINE)


def free_port(count: int = 1) -> int:
    """Return a port of 127.0.0.1 that was free a moment ago, and that no other worker of the tests is given.

    Not one of those that the kernel hands out itself, which any outgoing connection may take meanwhile.

    Args:
        count: How many that follow each other are to be free; the first of them is returned.
    """
    found = [next(_ports)]
    while len(found) < count or not all(map(_is_free, found)):
        port = next(_ports)
        found = [*found, port] if len(found) < count and port == found[-1] + 1 else [port]
    return found[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _ports_of_this_worker() -> Iterator[int]:
    """Yield the ports of one worker (`gw3` of pytest-xdist) over and over, from a random one on."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    first = PORTS.start + worker % (len(PORTS) // PORTS_PER_WORKER) * PORTS_PER_WORKER
    offset = int.from_bytes(os.urandom(2), "big")
    return (first + (offset + number) % PORTS_PER_WORKER for number in count())


_ports = _ports_of_this_worker()


def agent_arguments(names: Sequence[str] = SCRIPTED) -> list[str]:
    """Return the command line's options that offer these scripted agents, and `pace`; none without any."""
    offered = [*(f"{name}=tests.support.agents:{name}" for name in names), *(["pace"] if names else [])]
    return [word for agent in offered for word in ("--agent", agent)]


SETTINGS_OF_ALL: Final[dict[str, str]] = {}
"""Variables that all processes get which are started by tests."""


def clean_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with no settings of ours or of OpenTelemetry's but the given ones."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOKENWIRE_", "OTEL_"))
    }
    return {**inherited, "PYTHONUNBUFFERED": "1", **SETTINGS_OF_ALL, **(settings or {})}


def wait_until(true: Callable[[], bool], what: str, within_s: float = READY_S) -> None:
    """Return when something has become true.

    Raises:
        AssertionError: It did not within the time.
    """
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(POLL_S)


def is_alive(pid: int) -> bool:
    """Return whether a process runs: one that ended and was not yet collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def descendants(pid: int) -> list[int]:
    """Return the ids of a process's children, their children, and so on."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]


class Running:
    """One process in a session of its own, its output in files.

    It gets SIGTERM when the tests themselves are killed.

    Args:
        name: Names its files and it in messages.
        command: Program and arguments.
        environment: Its whole environment.
        folder: Where its output goes.
        stdin: What it reads; nothing by default.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        launch = (sys.executable, "-S", str(LAUNCHER), str(os.getpid()))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*launch, *command],
                env=dict(environment),
                cwd=ROOT,
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """What it has said and logged so far."""
        return self._err.read_text()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, within_s: float = STOP_S) -> int:
        """Return its exit status: negative when a signal killed it."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {within_s:g} s:\n{self.stderr}") from None

    def wait_ready(self, ready: Callable[[], bool]) -> None:
        """Return when it is ready.

        Raises:
            AssertionError: It ended, or took too long.
        """

        def ready_or_dead() -> bool:
            assert self.is_running(), f"{self.name} ended at its start:\n{self.stdout}{self.stderr}"
            return ready()

        wait_until(ready_or_dead, f"{self.name} is ready")

    def stop(self, *, hurry: bool = False) -> int:
        """End it by SIGTERM, and by SIGKILL if it will not; return its exit status.

        Args:
            hurry: Ask twice: our processes then give their runs and streams no time.
        """
        family = [self.pid, *descendants(self.pid)]
        # Of one and the same signal, the second could be lost in the first.
        for number in (signal.SIGINT, signal.SIGTERM) if hurry else (signal.SIGTERM,):
            if self.is_running():
                self.send(number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            for pid in family:
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()


@dataclass
class Stack:
    """A core and an edge."""

    url: str
    """The edge: http://127.0.0.1:PORT."""
    core: str
    """The core: 127.0.0.1:PORT."""
    process: Running
    """`tokenwire up`."""


@dataclass
class Processes:
    """Starts processes and remembers them, to end them all."""

    folder: Path
    """Where their output goes."""
    running: list[Running] = field(default_factory=list)
    """All that were started."""

    @property
    def journal(self) -> Path:
        """The file in which the scripted agents write down how they start and end."""
        return self.folder / "journal.jsonl"

    def start(
        self,
        name: str,
        command: Sequence[str],
        settings: Mapping[str, str] | None = None,
        *,
        stdin: int = subprocess.DEVNULL,
    ) -> Running:
        """Start any program. To be called in the main thread: a process ends with the thread that started it.

        Args:
            name: What to call it; a number is added.
            command: Program and arguments.
            settings: TOKENWIRE_ and other variables.
            stdin: A file descriptor to read.
        """
        journal = {"TOKENWIRE_TEST_JOURNAL": str(self.journal)}
        process = Running(
            f"{len(self.running)}-{name}",
            command,
            environment=clean_environment({**journal, **(settings or {})}),
            folder=self.folder,
            stdin=stdin,
        )
        self.running.append(process)
        return process

    def up(
        self, *options: str, agents: Sequence[str] = SCRIPTED, settings: Mapping[str, str] | None = None
    ) -> Stack:
        """Run `tokenwire up` with scripted agents (none: the built-in ones) and wait until it is ready."""
        grpc_port = free_port()
        ports = ("--port", "0", "--grpc-port", str(grpc_port))
        process = self.start("up", [*TOKENWIRE, "up", *ports, *agent_arguments(agents), *options], settings)
        process.wait_ready(lambda: READY_LINE.search(process.stdout) is not None)
        found = READY_LINE.search(process.stdout)
        assert found is not None
        return Stack(found.group(1), f"127.0.0.1:{grpc_port}", process)

    def core(
        self,
        port: int = 0,
        *,
        agents: Sequence[str] = SCRIPTED,
        settings: Mapping[str, str] | None = None,
    ) -> tuple[str, Running]:
        """Run `tokenwire core`; return its address and the process once it is ready."""
        address, process = self.start_core(port, agents=agents, settings=settings)
        process.wait_ready(lambda: core_is_serving(address))
        return address, process

    def start_core(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        agents: Sequence[str] = SCRIPTED,
        settings: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> tuple[str, Running]:
        """Run `tokenwire core`; return where it will listen, and the process, without waiting.

        Args:
            port: Any free one by default.
            host: Where it listens.
            agents: The scripted agents that it offers.
            settings: TOKENWIRE_ and other variables.
            through: A command that runs another one: the core, here.
        """
        port = port or free_port()
        options = ["--grpc-host", host, "--grpc-port", str(port), *agent_arguments(agents)]
        process = self.start("core", [*through, *TOKENWIRE, "core", *options], settings)
        return f"{host}:{port}", process

    def edge(
        self, core: str, port: int = 0, *, settings: Mapping[str, str] | None = None
    ) -> tuple[str, Running]:
        """Run `tokenwire edge`; return its URL and the process once it is ready."""
        port = port or free_port()
        process = self.start("edge", [*TOKENWIRE, "edge", "--core", core, "--port", str(port)], settings)
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(lambda: edge_is_ready(url))
        return url, process

    def stop_all(self) -> None:
        """End all at once, those started last first: whatever they still do, nobody looks at it any more."""
        while self.running:
            self.running.pop().stop(hurry=True)

    def logs(self) -> Iterator[tuple[str, str]]:
        """Yield what each process has printed, with its file's name."""
        for path in sorted([*self.folder.glob("*.out"), *self.folder.glob("*.err")]):
            if text := path.read_text(errors="replace"):
                yield path.name, text


def core_is_serving(address: str) -> bool:
    """Return whether a core's health check answers SERVING."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def edge_is_ready(url: str) -> bool:
    """Return whether an edge says that it is ready."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=1)
    try:
        # Plain HTTP: httpx loads all CA certificates for each client, which takes longer than the answer.
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
