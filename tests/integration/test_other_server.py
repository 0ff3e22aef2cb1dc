"""The edge's application at an ASGI server that knows none of its extensions: uvicorn as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from edge.app import create_app
from edge.http.drain import Drain
from edge.settings import EdgeSettings
from tests.support.agents import SCRIPTED_TEXT
from tests.support.sse_reader import events_of, ids_of
from tests.support.stack import PATIENT_MS, new_session, running_core


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of such an edge, which has a real core."""
    async with running_core() as core:
        app = create_app(
            EdgeSettings(
                core=f"127.0.0.1:{core.port}", cors_origins="https://app.example", commit_ms=PATIENT_MS
            ),
            Drain(),
        )
        server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None))
        # Not `serve`: it would take this process's signals.
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as asking:
            yield asking
        server.should_exit = True
        await serving


async def test_a_stream_is_sent_whole_and_can_be_resumed(client: httpx.AsyncClient) -> None:
    """By `send`; what wraps it for the head has done so."""
    body = {"message": "hi", "sessionId": new_session(), "agent": "scripted"}
    origin = {"origin": "https://app.example"}
    answer = await client.post("/api/chat", json=body, headers=origin)
    told = events_of(answer.text)
    assert "".join(event["content"] for event in told if event["type"] == "text_delta") == SCRIPTED_TEXT
    assert told[-1]["type"] == "done"
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    ids = ids_of(answer.text)
    rest = await client.get(f"/api/runs/{answer.headers['run-id']}/events", params={"after": ids[-2]})
    assert [event["type"] for event in events_of(rest.text)] == ["done"]


async def test_a_client_that_leaves_is_noticed(client: httpx.AsyncClient) -> None:
    """By `receive`: its run is cancelled, as it has asked."""
    body = {"message": "hi", "sessionId": new_session(), "agent": "silent", "onDisconnect": "cancel"}
    async with client.stream("POST", "/api/chat", json=body) as response:
        run_id = response.headers["run-id"]
        await anext(response.aiter_text())
    async with asyncio.timeout(10):
        while (await client.get(f"/api/runs/{run_id}")).json()["state"] != "ended":
            await asyncio.sleep(0.02)
