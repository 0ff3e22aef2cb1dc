"""A core and an edge in this event loop: the real gRPC server, the real ASGI server, real sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from agent_core.server import CoreServer
from agent_core.settings import Settings as CoreSettings
from edge.app import create_app
from edge.http.drain import Drain
from edge.server import StreamServer, bind, make_server
from edge.settings import EdgeSettings
from edge.upstream import GrpcUpstream

AGENTS = "tests.support.agents"

PATIENT_MS = 10_000
"""How long the head of a stream waits for its run's name, the header `Run-Id`, which many tests read: on a
busy machine that takes longer than the 250 ms by default."""


_sessions = itertools.count(1)


def new_session() -> str:
    """Return a session of its own: of one session, only one run goes on at a time."""
    return f"s{next(_sessions)}"


@dataclass
class Stack:
    """What runs."""

    core: CoreServer
    edge: StreamServer
    drain: Drain
    url: str
    client: httpx.AsyncClient

    def chat(self, message: str = "hi", agent: str = "scripted", **more: Any) -> Any:
        """Return the context manager of a streamed POST /api/chat."""
        headers = more.pop("headers", {})
        params = more.pop("params", {})
        body = {"message": message, "sessionId": new_session(), "agent": agent, **more}
        return self.client.stream("POST", "/api/chat", json=body, headers=headers, params=params)

    async def start(self, message: str = "hi", agent: str = "scripted", **more: Any) -> str:
        """Start a run that is followed elsewhere; return its id."""
        body = {"message": message, "sessionId": new_session(), "agent": agent, **more}
        response = await self.client.post("/api/chat", json=body, headers={"accept": "application/json"})
        assert response.status_code == 202, response.text
        run_id: str = response.json()["runId"]
        return run_id

    async def ended(self, run_id: str) -> dict[str, Any]:
        """Return a run's state, once it has ended."""
        while (state := (await self.client.get(f"/api/runs/{run_id}")).json())["state"] != "ended":
            await asyncio.sleep(0.01)
        result: dict[str, Any] = state
        return result


@asynccontextmanager
async def running_core(**settings: Any) -> AsyncIterator[CoreServer]:
    """Run a core with the scripted agents on a port of its own."""
    names = (
        "scripted",
        "rich",
        "slow",
        "thinks",
        "silent",
        "echo",
        "halves",
        "recalls",
        "flood",
        "raises_before",
        "raises_after",
        "refuses",
    )
    agents = " ".join([*(f"{name}={AGENTS}:{name}" for name in names), "pace"])
    core = CoreServer(CoreSettings(**{"agent": agents, "grpc_port": 0, "drain_s": 0.1, **settings}))
    await core.start()
    try:
        yield core
    finally:
        await core.stop()


@asynccontextmanager
async def running_edge(
    core: str, *, waits_for_links: bool = False, **settings: Any
) -> AsyncIterator[tuple[StreamServer, Drain, str]]:
    """Run an edge on a port of its own.

    Args:
        core: Its cores.
        waits_for_links: Whether to begin only when it has a link to each core: before, it uses calls.
        settings: Of the edge.
    """
    edge_settings = EdgeSettings(core=core, port=0, drain_s=2, **settings)
    drain = Drain()
    listener = bind(edge_settings)
    port = listener.getsockname()[1]
    app = create_app(edge_settings, drain)
    server = make_server(app, edge_settings, drain)
    # Not `serve`: it would take this process's signals.
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if waits_for_links and edge_settings.link == "auto":
        await _linked(app.state.edge.upstream)
    try:
        yield server, drain, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        drain.start()
        await serving


async def _linked(upstream: GrpcUpstream) -> None:
    """Return once an edge has a link to each of its cores.

    Raises:
        TimeoutError: It has not within 20 s.
    """
    async with asyncio.timeout(20):
        while not all(member.is_linked for member in upstream._cores.members):
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running_stack(core_settings: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Stack]:
    """Run a core and an edge of it, with a client. The edge waits for the names of runs."""
    settings = {"commit_ms": PATIENT_MS} | settings
    async with (
        running_core(**(core_settings or {})) as core,
        running_edge(f"127.0.0.1:{core.port}", waits_for_links=True, **settings) as (edge, drain, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield Stack(core, edge, drain, url, client)
