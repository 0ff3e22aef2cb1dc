"""Streams through the real servers: what arrives, when, and with which headers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from httpx_sse import aconnect_sse

from tests.support.agents import SCRIPTED_TEXT
from tests.support.sse_reader import events_of
from tests.support.stack import Stack, running_edge, running_stack

pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


async def test_a_foreign_parser_reads_every_kind_of_event_to_the_one_end(stack: Stack) -> None:
    """httpx-sse sees the run from its first event to its only terminal one, densely numbered."""
    body = {"message": "fruit?", "sessionId": "s1", "agent": "scripted"}
    async with aconnect_sse(stack.client, "POST", "/api/chat", json=body) as source:
        events = [event async for event in source.aiter_sse()]
    data = [event.json() for event in events]
    assert [item["type"] for item in data if item["type"] in {"done", "error"}] == ["done"]
    assert data[0]["type"] == "run_started"
    assert data[-1]["type"] == "done"
    assert data[-1]["finalMessage"] == SCRIPTED_TEXT
    assert "".join(item["content"] for item in data if item["type"] == "text_delta") == SCRIPTED_TEXT
    assert {item["type"] for item in data} == {
        "run_started", "progress", "reasoning_delta", "tool_start", "tool_result", "custom", "text_delta",
        "done",
    }  # fmt: skip
    run_id = data[0]["runId"]
    sequences = [int(event.id.removeprefix(f"{run_id}.1.")) for event in events]
    merged_from = [item.get("from", sequence) for item, sequence in zip(data, sequences, strict=True)]
    assert merged_from == [1, *(sequence + 1 for sequence in sequences[:-1])]


async def test_the_headers_are_exactly_those_of_a_stream(stack: Stack) -> None:
    """No charset, no buffering, no caching, no compression: some clients and proxies need each of them."""
    async with stack.chat(headers={"accept-encoding": "gzip, br"}) as response:
        first = await anext(response.aiter_text())
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in response.headers
    assert first.startswith("retry: ")
    assert f"id: {response.headers['run-id']}.1.1\n" in first
    assert "\r" not in first


async def test_a_refusal_is_a_real_status(stack: Stack) -> None:
    """Within the commit time a client gets a problem document, not a stream that fails."""
    response = await stack.client.post(
        "/api/chat", json={"message": "hi", "sessionId": "s1", "agent": "nobody"}
    )
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["code"], problem["retryable"]) == ("NOT_FOUND", False)
    assert problem["details"]["reason"] == "AGENT_UNKNOWN"


async def test_without_an_answer_the_headers_leave_after_the_commit_time() -> None:
    """A core that does not answer keeps nobody from seeing that the stream is open."""
    with socket.create_server(("127.0.0.1", 0)) as silent_core:
        async with (
            running_edge(f"127.0.0.1:{silent_core.getsockname()[1]}") as (_, _, url),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
            client.stream("POST", "/api/chat", json={"message": "hi", "sessionId": "s"}) as response,
        ):
            assert response.status_code == 200
            assert (await anext(response.aiter_text())).endswith(": open\n")
            assert "run-id" not in response.headers


async def test_a_missing_core_is_a_503_that_says_when_to_try_again() -> None:
    """New runs can't be started, and the client is told so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with (
        running_edge(f"127.0.0.1:{port}") as (_, _, url),
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        response = await client.post("/api/chat", json={"message": "hi", "sessionId": "s"})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["code"] == "UNAVAILABLE"
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "core_unavailable"})
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    ("kind", "heartbeat"), [("comment", ": heartbeat\n"), ("ping", "event: ping\ndata: {}\n\n")]
)
async def test_silence_is_broken_by_heartbeats(kind: str, heartbeat: str) -> None:
    """They come from a timer of their own: the agent says nothing at all."""
    async with (
        running_stack(heartbeat_s=0.05) as stack,
        stack.chat(agent="silent", params={"heartbeat": kind}) as response,
    ):
        seen = ""
        async for text in response.aiter_text():
            seen += text
            if seen.count(heartbeat) >= 3:
                break
    assert seen.count(heartbeat) >= 3


async def test_a_client_is_told_anew_when_to_come_back_as_others_come() -> None:
    """With a heartbeat, or before what is said next: an edge that is killed can't say it in the end."""
    async with (
        running_stack(heartbeat_s=0.05, retry_ms=1000, reconnects_per_s=0.01) as stack,
        stack.chat(agent="silent") as silent,
        stack.chat(agent="slow", params={"heartbeat": "off"}) as slow,
        stack.chat(agent="silent"),
        stack.chat(agent="silent"),
        stack.chat(agent="silent"),  # the first one leaves, and more than twice as many are still there
    ):
        for response in (silent, slow):
            seen = ""
            async for text in response.aiter_text():
                seen += text
                if len(told := re.findall(r"^retry: (\d+)$", seen, re.MULTILINE)) >= 2:
                    break
            assert int(told[1]) <= 500 + 5 * 100_000
            assert "\n\n\n" not in seen
            assert not re.search(r"retry: \d+\n\n", seen), "no block of its own"


async def test_heartbeats_can_be_off() -> None:
    """For clients that take every comment for a message."""
    async with (
        running_stack(heartbeat_s=0.02) as stack,
        stack.chat(agent="silent", params={"heartbeat": "off"}) as response,
    ):
        texts = response.aiter_text()
        while "run_started" not in await anext(texts):
            pass  # the head of a busy machine leaves without it
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(texts), 0.3)


async def test_a_run_that_was_started_with_202_is_followed_elsewhere(stack: Stack) -> None:
    """For a plain EventSource, which can't POST."""
    accepted = await stack.client.post(
        "/api/chat",
        json={"message": "hi", "sessionId": "s1", "agent": "scripted"},
        headers={"accept": "application/json"},
    )
    assert accepted.status_code == 202
    run_id = accepted.json()["runId"]
    assert accepted.headers["location"] == f"/api/runs/{run_id}"
    events = events_of((await stack.client.get(accepted.json()["eventsUrl"])).text)
    assert events[0]["runId"] == run_id
    assert events[-1]["type"] == "done"


@pytest.mark.parametrize(
    "accept", ["application/json, text/plain, */*", "text/event-stream, application/json"]
)
async def test_who_accepts_a_stream_as_well_gets_it(stack: Stack, accept: str) -> None:
    """So axios: it names JSON first and then anything, all alike: the stream is what it came for."""
    async with stack.chat("a", agent="echo", headers={"accept": accept}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert events_of((await response.aread()).decode())[-1]["type"] == "done"


async def test_several_accepts_are_one(stack: Stack) -> None:
    """They count as if they were joined by a comma: JSON is here liked better than anything else."""
    headers = [("accept", "*/*;q=0.1"), ("accept", "application/json")]
    body = {"message": "a", "sessionId": "several-accepts", "agent": "echo"}
    answer = await stack.client.post("/api/chat", json=body, headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("key", ["a\tb", "k" * 129])
async def test_an_idempotency_key_that_is_none_is_refused(stack: Stack, key: str) -> None:
    """It becomes part of keys in stores."""
    body = {"message": "a", "sessionId": "s", "agent": "echo"}
    response = await stack.client.post("/api/chat", json=body, headers={"idempotency-key": key})
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_ARGUMENT")


async def test_runs_that_are_not_there_are_told_apart(stack: Stack) -> None:
    """Unknown is 404; the log of another incarnation is 410: it was lost with its core; no id is 400."""
    run_id = await stack.start("a", agent="echo")
    unknown = run_id[:4] + "z" * 26
    lost = ("y" if run_id[0] != "y" else "x") + run_id[1:]
    for path in ("", "/events"):
        assert (await stack.client.get(f"/api/runs/{unknown}{path}")).status_code == 404
        assert (await stack.client.get(f"/api/runs/{lost}{path}")).status_code == 410
        assert (await stack.client.get(f"/api/runs/nope{path}")).status_code == 400


async def test_stop_ends_the_stream_with_the_text_so_far(stack: Stack) -> None:
    """Cancel is idempotent, and a cancelled run is done, not failed."""
    async with stack.chat(agent="slow") as response:
        run_id = response.headers["run-id"]
        texts = response.aiter_text()
        seen = await anext(texts)
        while "Slow" not in seen:
            seen += await anext(texts)
        for _ in range(2):
            state = (await stack.client.post(f"/api/runs/{run_id}/cancel")).json()
            assert state["state"] == "ended"
            assert state["terminal"] == {"event": "done", "reason": "cancelled"}
        async for text in texts:
            seen += text
    events = events_of(seen)
    assert events[-1]["type"] == "done"
    assert events[-1]["finishReason"] == "cancelled"
    assert events[-1]["finalMessage"].startswith("Slow")


@pytest.mark.parametrize(
    ("agent", "code", "retryable"),
    [
        ("raises_before", "INTERNAL", False),
        ("raises_after", "INTERNAL", False),
        ("refuses", "RESOURCE_EXHAUSTED", True),
    ],
)
async def test_an_agent_that_fails_ends_the_stream_in_one_error(
    stack: Stack,
    agent: str,
    code: str,
    retryable: bool,
) -> None:
    """Nothing internal is told, whenever it fails."""
    async with stack.chat(agent=agent) as response:
        body = (await response.aread()).decode()
    terminals = [event for event in events_of(body) if event["type"] in {"done", "error"}]
    assert [(event["code"], event["retryable"]) for event in terminals] == [(code, retryable)]
    assert "secret" not in body


async def test_a_going_edge_hands_its_streams_over(stack: Stack) -> None:
    """Every open stream ends at an event border with `reconnect`; new runs are refused; follows come back."""
    async with stack.chat(agent="slow") as response:
        texts = response.aiter_text()
        seen = await anext(texts)
        stack.drain.start()
        async for text in texts:
            seen += text
    assert re.fullmatch(r"retry: \d+\nevent: reconnect\ndata: {.*}", seen.rsplit("\n\n", 2)[-2])
    assert not [event for event in events_of(seen) if event["type"] in {"done", "error"}]
    run_id = response.headers["run-id"]
    assert (await stack.client.get("/health/ready")).json() == {"status": "draining"}
    refused = await stack.client.post("/api/chat", json={"message": "hi", "sessionId": "s1"})
    assert refused.status_code == 503
    follow = await stack.client.get(f"/api/runs/{run_id}/events")
    assert follow.status_code == 200
    assert follow.headers["content-type"] == "text/event-stream"
    assert follow.text.startswith("retry: ")
    repeated = {"message": "hi", "sessionId": "s1"}
    resumed = await stack.client.post("/api/chat", json=repeated, headers={"last-event-id": f"{run_id}.1.1"})
    assert (resumed.status_code, ": open" in resumed.text, "data:" in resumed.text) == (200, True, False)
    state = (await stack.client.get(f"/api/runs/{run_id}")).json()
    assert state["state"] == "running", "a drained edge cancels nothing"


async def test_a_backlog_leaves_in_few_frames_with_the_same_text(stack: Stack) -> None:
    """Deltas that wait together are merged: a replay of 500 words is no 500 frames."""
    words = " ".join(str(number) for number in range(500))
    run_id = await stack.start(words, agent="echo")
    await stack.ended(run_id)
    events = events_of((await stack.client.get(f"/api/runs/{run_id}/events")).text)
    deltas = [event for event in events if event["type"] == "text_delta"]
    assert "".join(event["content"] for event in deltas) == words + " "
    assert sum(event.get("tokens", 1) for event in deltas) == 500
    assert len(deltas) < 50


async def test_the_openapi_document_holds_every_event() -> None:
    """A browser team generates its types from it."""
    async with running_stack() as stack:
        document = (await stack.client.get("/schema")).json()
    frames = document["paths"]["/api/chat"]["post"]["responses"]["200"]["content"]["text/event-stream"]
    names = {reference["$ref"].rsplit("/", 1)[1] for reference in frames["schema"]["oneOf"]}
    types = {document["components"]["schemas"][name]["properties"]["type"]["const"] for name in names}
    assert types == {
        "run_started", "text_delta", "reasoning_delta", "progress", "tool_start", "tool_result", "custom",
        "input_requested", "input_received",
        "done", "error",
    }  # fmt: skip


async def test_the_openapi_document_says_what_each_id_looks_like() -> None:
    """So that generated clients, and those who try to break the edge, know what is an id and what is not."""
    async with running_stack() as stack:
        document = (await stack.client.get("/schema")).json()
    parameters = [
        parameter
        for path, item in document["paths"].items()
        if path.startswith("/api/")
        for operation in item.values()
        for parameter in operation.get("parameters", ())
    ]
    ids = [each for each in parameters if each["in"] == "path" or each["name"] == "pageToken"]
    assert {each["name"] for each in ids} == {"run_id", "session_id", "chat_id", "input_id", "pageToken"}
    assert all("pattern" in each["schema"] for each in ids)


async def test_other_sites_need_to_be_on_the_list() -> None:
    """CORS is an allow-list, and the run's id is readable for those on it."""
    async with running_stack(cors_origins="https://app.example") as stack:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        allowed = await stack.client.options("/api/chat", headers={"origin": "https://app.example", **asked})
        refused = await stack.client.options("/api/chat", headers={"origin": "https://evil.example", **asked})
        async with stack.chat(headers={"origin": "https://app.example"}) as response:
            exposed = response.headers["access-control-expose-headers"].lower()
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in refused.headers
    assert "run-id" in exposed
    assert "traceparent" in exposed


async def test_a_client_that_leaves_inside_its_request_is_no_failure_of_the_edge(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """A tab that is closed while it sends its question is nobody's error, and is not logged as one."""
    url = httpx.URL(stack.url)
    assert url.port is not None
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 99\r\n\r\n{"
    writer.write(head.encode())
    await writer.drain()
    connections = stack.edge.server_state.tasks
    while not connections:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    while connections:
        await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
