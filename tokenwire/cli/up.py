"""`tokenwire up`: a core and an edge on one machine, ready or gone as one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tokenwire.addresses import address_of, channel_options
from tokenwire.cli import ports
from tokenwire.cli.environment import (
    core_environment_of,
    environment_of,
    made_principal_key,
)
from tokenwire.cli.metrics_ports import MetricsPorts, claim_metrics_ports
from tokenwire.cli.supervision import PROBE_EVERY_S, Supervision
from tokenwire.descriptors import raise_limit
from tokenwire.numbers import plain_number
from tokenwire.processes import Child, explain_exit
from tokenwire.settings import WRONG_SETTINGS
from tokenwire.variables import EDGE

PROBE_TIMEOUT_S = 2.0
DRAIN_S = 1.0
"""How long runs and responses may go on after Ctrl-C unless TOKENWIRE_DRAIN_S says otherwise: at a
terminal nobody waits the ten seconds that suit a production server."""
STOP_MARGIN_S = 15.0
"""What a process may take beyond that (stopping agents, joining the model's thread). Killing it is the
last resort."""
LOOPBACK = "127.0.0.1"
TLS_SETTINGS = ("TOKENWIRE_GRPC_TLS_", "TOKENWIRE_CORE_TLS_")
"""Not for these processes: between them is loopback, and nobody else's certificate is checked there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` shall start."""

    host: str
    """Where the edge listens."""
    port: int
    """The page's port; 0 for any free one."""
    grpc_port: int
    """The core's port on loopback; 0 for any free one."""
    workers: int
    """How many processes the edge has."""
    core_environment: Mapping[str, str]
    """The core's further settings."""


class ChildDiedError(Exception):
    """A process ended that nobody had asked to.

    Args:
        child: The process, which has ended.
    """

    def __init__(self, child: Child) -> None:
        code = child.exit.result()
        super().__init__(f"The {child.name} (pid {child.pid}) {explain_exit(code)}.")
        self.status = code if code == WRONG_SETTINGS else 1
        """What `up` ends with: restarting it helps as little as restarting the process."""


def say(line: str) -> None:
    """Tell the person at the terminal, on stderr: stdout is for the address alone."""
    with contextlib.suppress(OSError):  # the terminal was closed: that is why it ends
        sys.stderr.write(f"tokenwire: {line}\n")
        sys.stderr.flush()


def run(plan: Plan) -> int:
    """Start everything, stay until asked to stop, end everything; return the exit status.

    Raises:
        PortError: A port can't be had; nothing was started.
    """
    raise_limit()
    port, grpc_port = claim_ports(plan)
    metrics = claim_metrics_ports(os.environ, plan.workers)
    return asyncio.run(_Up(plan, port, grpc_port, metrics).run())


def claim_ports(plan: Plan) -> tuple[int, int]:
    """Return the page's port and the core's: two of them.

    What was free a moment ago is handed out again as long as nobody listens: "any free one" may be
    the other one.

    Raises:
        PortError: A port can't be had, or both were given and are the same.
    """
    grpc_port = ports.claim(LOOPBACK, plan.grpc_port, option="--grpc-port (TOKENWIRE_GRPC_PORT)")
    port = ports.claim(plan.host, plan.port, option="--port (TOKENWIRE_PORT)")
    while port == grpc_port:
        if plan.port and plan.grpc_port:
            raise ports.PortError(f"--port and --grpc-port can't both be {port}.")
        if plan.port:
            grpc_port = ports.claim(LOOPBACK, 0, option="--grpc-port (TOKENWIRE_GRPC_PORT)")
        else:
            port = ports.claim(plan.host, 0, option="--port (TOKENWIRE_PORT)")
    return port, grpc_port


class _Up:
    """The supervisor. Children are ended in the reverse of the order they were started in."""

    def __init__(self, plan: Plan, port: int, grpc_port: int, metrics: MetricsPorts) -> None:
        self._plan = plan
        self._port = port
        self._metrics = metrics
        self._core = address_of(LOOPBACK, grpc_port)
        self._grpc_port = grpc_port
        self._url = f"http://{address_of(ports.reachable(plan.host), port)}"
        # Inherited, and what is made here for the processes: as long as these live, nowhere else.
        self._environment = {**os.environ, **made_principal_key(os.environ)}
        self._watched = Supervision(say, _raise_for_the_dead)

    async def run(self) -> int:
        try:
            await self._watched.until_asked_to_stop(self._serve())
        except ChildDiedError as error:
            say(f"{error} Stopping all processes.")
            return error.status
        finally:
            await self._watched.stop(drain_s() + STOP_MARGIN_S)
        return 0

    async def _serve(self) -> None:
        await self._start_core()
        await self._start_edge()
        sys.stdout.write(f"Tokenwire is ready: {self._url}\n")
        sys.stdout.flush()

    async def _start_core(self) -> None:
        environment = {
            **self._plan.core_environment,
            **self._metrics.core,
            "TOKENWIRE_GRPC_HOST": LOOPBACK,
            "TOKENWIRE_GRPC_PORT": str(self._grpc_port),
        }
        await self._start("core", "agent_core", core_environment_of(self._environment), environment)
        # No deadline: the first start may fetch the model, and shows how far it has come.
        await _until(lambda: core_is_serving(self._core))

    async def _start_edge(self) -> None:
        environment = {
            "TOKENWIRE_CORE": self._core,
            "TOKENWIRE_HOST": self._plan.host,
            "TOKENWIRE_PORT": str(self._port),
            "TOKENWIRE_WORKERS": str(self._plan.workers),
            **self._metrics.edge,
        }
        await self._start("edge", "edge", environment_of(EDGE, self._environment), environment)
        # Each question on a connection of its own. One client for all: each reads the system's certificates.
        each_alone = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S, limits=each_alone) as client:
            await _until(lambda: edge_is_ready(client, self._url))

    async def _start(
        self, name: str, module: str, known: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        command = (sys.executable, "-m", module)
        inherited = {name: value for name, value in known.items() if not name.startswith(TLS_SETTINGS)}
        given = {"TOKENWIRE_DRAIN_S": plain_number(DRAIN_S), **inherited, **environment}
        self._watched.children.append(await Child.start(name, command, given))


def drain_s() -> float:
    """Return how long the processes let runs and responses go on after SIGTERM, in seconds."""
    try:
        return float(os.environ.get("TOKENWIRE_DRAIN_S") or DRAIN_S)
    except ValueError:
        return DRAIN_S  # the processes refuse the value themselves, and say so


def _raise_for_the_dead(children: Sequence[Child]) -> None:
    for child in children:
        if child.exit.done():
            raise ChildDiedError(child)


async def _until(ready: Callable[[], Awaitable[bool]]) -> None:
    while not await ready():  # noqa: ASYNC110 - another process gets ready: there is no event to wait for
        await asyncio.sleep(PROBE_EVERY_S)


async def core_is_serving(address: str) -> bool:
    """Return whether the core at HOST:PORT answers its health check with SERVING."""
    async with grpc.aio.insecure_channel(address, options=channel_options(address)) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def edge_is_ready(client: httpx.AsyncClient, url: str) -> bool:
    """Return whether the edge at this address answers that it is ready."""
    try:
        answer = await client.get(f"{url}/health/ready")
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK
