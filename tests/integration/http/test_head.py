"""HEAD on every route that GET is for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from litestar import Litestar

from edge.app import create_app
from edge.settings import EdgeSettings
from tests.support.raw_http import HEALTH, raw_connection
from tests.support.stack import Stack, new_session, running_stack

CHANGING = {"date", "traceparent", "content-length", "run-id"}
"""A metrics page is a little longer each time, and some problems name their request."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[Stack]:
    """A core and an edge."""
    async with running_stack() as running:
        yield running


def paths_of_get() -> list[str]:
    """Return the paths of all routes that are asked by GET."""
    app: Litestar = create_app(EdgeSettings())
    return sorted(route.path_format for route in app.routes if "GET" in getattr(route, "methods", ()))


async def run_of(stack: Stack, session: str) -> str:
    """Return the id of a run that has ended, in that session."""
    body = {"message": "hi", "sessionId": session, "agent": "scripted"}
    answer = await stack.client.post("/api/chat", json=body)
    return answer.headers["run-id"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", paths_of_get())
async def test_head_tells_what_get_would(stack: Stack, path: str) -> None:
    """Status and headers, of what is there and of what is not; the next answer begins right behind them."""
    session = new_session()
    known = {
        "run_id": await run_of(stack, session),
        "session_id": session,
        "chat_id": session,
        "file_path": "x.js",
        "path": "openapi.yaml",
    }
    unknown = dict.fromkeys(known, "a" * 30)
    for names in (known, unknown):
        asked = path.format(**names)
        async with raw_connection(stack.url) as connection:
            await connection.send(f"HEAD {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + HEALTH)
            head = headers_in(await connection.until(b"\r\n\r\n"))
            assert (await connection.answer()).body == b'{"status":"ok"}'
        async with raw_connection(stack.url) as connection:
            await connection.send(f"GET {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            told = headers_in(await connection.until(b"\r\n\r\n"))
        is_stream = told.get("content-type") == "text/event-stream"
        if is_stream:
            assert told.pop("transfer-encoding") == "chunked"
        assert head == told


def headers_in(head: bytes) -> dict[str, Any]:
    """Return the status and the headers that do not change from answer to answer."""
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    known = {name: value for name, value in headers.items() if name not in CHANGING}
    return {**known, "status": status, "has length": "content-length" in headers}


@pytest.mark.asyncio(loop_scope="module")
async def test_head_of_a_stream_opens_none(stack: Stack) -> None:
    """It takes no slot, opens no stream at the core, and counts as no follower of the run."""
    run_id = await stack.start("hi", "silent", onDisconnect="cancel")
    async with raw_connection(stack.url) as connection:
        await connection.send(f"HEAD /api/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await connection.until(b"\r\n\r\n")
        assert b"content-type: text/event-stream\r\n" in head
        assert stack.drain.streams == 0
    assert (await stack.client.get(f"/api/runs/{run_id}")).json()["state"] == "running"
    await stack.client.post(f"/api/runs/{run_id}/cancel")


@pytest.mark.asyncio(loop_scope="module")
async def test_head_of_what_is_posted_to_is_refused(stack: Stack) -> None:
    """Nothing is started; `Allow` names no HEAD."""
    answer = await stack.client.head("/api/chat")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
