"""The edge's event loop, when something stands on it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from edge.http.drain import Drain
from edge.server import bind, make_server
from edge.settings import EdgeSettings


async def blocks(scope: Any, receive: Any, send: Any) -> None:
    """Keep the loop for a while, as a library that is not made for asyncio would."""
    del receive
    if scope["type"] == "http":
        time.sleep(1.6)  # noqa: ASYNC251 # what must not be done
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_what_blocks_the_edges_loop_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where, and for how long."""
    settings, drain = EdgeSettings(port=0, drain_s=0), Drain()
    listener = bind(settings)
    server = make_server(blocks, settings, drain)
    server.config.lifespan = "off"
    # Not `serve`: it would take this process's signals.
    serving = asyncio.create_task(server._serve([listener]))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    server.should_exit = True
    await serving
    told = [r.getMessage() for r in caplog.records if r.name == "tokenwire.loop_watchdog"]
    # On a busy machine other things may block it, too.
    stood = next(index for index, line in enumerate(told) if f"{__file__}:" in line)
    assert "has been blocked for" in told[stood]
    assert any("runs again" in line for line in told[stood:])
