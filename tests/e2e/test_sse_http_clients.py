"""HTTP clients of others that know of streams, unmodified: httpx-sse through real cuts, and axios."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import httpx_sse
import pytest

from agent_core.agents.pace import pace_text
from tests.support.processes import ROOT, Stack, clean_environment
from tests.support.proxy import proxy_to
from tests.support.sse_reader import read_all

MESSAGE = json.dumps({"tokens": 40, "rate": 40})
"""A second of tokens."""
TEXT = pace_text(40, 5)
TERMINAL = {"done", "error"}


async def test_httpx_sse_resumes_with_the_last_id(stack: Stack) -> None:
    """It does not reconnect itself: the loop around it does, and is told only what it lacks."""
    body = {"message": MESSAGE, "sessionId": uuid4().hex, "agent": "pace"}
    with proxy_to(stack.url, cuts_by_header=True) as proxy:
        told = [event async for event in read_on(f"{proxy.url}/api/chat", body, cuts=["2500", "1500"])]
    assert proxy.cuts == 2
    assert "".join(data["content"] for _, data in told if data["type"] == "text_delta") == TEXT
    assert [data["type"] for _, data in told if data["type"] in TERMINAL] == ["done"]
    assert len(dict(told)) == len(told)


async def read_on(url: str, body: Any, cuts: list[str]) -> AsyncIterator[tuple[str, Any]]:
    """Yield a run's events with their ids, whatever becomes of its connections.

    Args:
        url: Of the proxy.
        body: The question.
        cuts: After how many bytes each of the first answers is cut.
    """
    last, kind = {"idempotency-key": uuid4().hex}, ""
    async with httpx.AsyncClient(trust_env=False) as http:
        while kind not in TERMINAL:
            headers = last | ({"x-cut": cuts.pop(0)} if cuts else {})
            with suppress(httpx.TransportError):  # the cut
                async with httpx_sse.aconnect_sse(http, "POST", url, json=body, headers=headers) as source:
                    async for event in source.aiter_sse():
                        if event.event != "message" or not event.data:
                            continue
                        last, kind = {"last-event-id": event.id}, event.json()["type"]
                        yield event.id, event.json()


AXIOS = """
import axios from "axios";
const { url, body } = JSON.parse(process.argv[1]);
const answer = await axios.post(url, body, { responseType: "stream" });
console.log(answer.status, answer.headers["content-type"]);
answer.data.pipe(process.stdout);
"""


@pytest.mark.needs("node")
async def test_axios_gets_the_stream_by_its_own_accept(stack: Stack, node: str) -> None:
    """Its default takes JSON first and then anything, all alike."""
    body = {"message": MESSAGE, "sessionId": uuid4().hex, "agent": "pace"}
    order = json.dumps({"url": f"{stack.url}/api/chat", "body": body})
    process = await asyncio.create_subprocess_exec(
        node, "--input-type=module", "--eval", AXIOS, order,
        cwd=ROOT / "web", env=clean_environment({"NO_PROXY": "127.0.0.1"}), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    head, _, stream = out.partition(b"\n")
    assert head == b"200 text/event-stream"
    events: list[dict[str, Any]] = [json.loads(message.data) for message in read_all(stream)]
    assert "".join(event["content"] for event in events if event["type"] == "text_delta") == TEXT
