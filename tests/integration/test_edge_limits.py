"""The edge's limits on real streams: who is refused, in which words, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from edge.http.limits import Limits
from tests.support.stack import Stack, new_session, running_stack
from tokenwire.limits import Slots

pytestmark = pytest.mark.usefixtures("transport")

PRINCIPAL_KEY = "p" * 32
KEYS = {name: f"tw_{name}-secret" for name in ("alice", "bob")}
ENTRIES = ",".join(f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items())
ALICE, BOB = ({"authorization": f"Bearer {key}"} for key in KEYS.values())
VANISHING = 150
"""Clients that leave. The tests of memory have far more; here every place to leave at is what counts."""


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[Stack]:
    """Run a stack with keys and these limits."""
    keys = {"auth": "keys", "api_keys": ENTRIES, "principal_key": PRINCIPAL_KEY}
    async with running_stack({"principal_key": PRINCIPAL_KEY}, **keys, **limits) as stack:
        yield stack


def limits_of(stack: Stack) -> Limits:
    gate: Any = stack.edge.config.app
    limits: Limits = gate.app.app.state.edge.limits
    return limits


def slots_of(stack: Stack) -> Slots:
    return limits_of(stack).slots


async def until(true: Callable[[], bool]) -> None:
    """Return when something has become true."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def told(answer: httpx.Response, limit: str) -> int:
    """Return after how many seconds a refusal asks to come back."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("RESOURCE_EXHAUSTED", True)
    assert (problem["details"]["reason"], problem["details"]["limit"]) == ("EDGE_LIMIT", limit)
    return int(answer.headers["retry-after"])


async def ask(stack: Stack, agent: str = "echo", headers: dict[str, str] = ALICE) -> httpx.Response:
    body = {"message": "a", "sessionId": new_session(), "agent": agent}
    return await stack.client.post("/api/chat", json=body, headers=headers)


async def open_silent(stack: Stack, opened: AsyncExitStack, headers: dict[str, str] = ALICE) -> str:
    """Open a stream that says nothing after its beginning; return its run's id."""
    response = await opened.enter_async_context(stack.chat(agent="silent", headers=headers))
    texts = response.aiter_text()
    opened.push_async_callback(texts.aclose)  # one that is forgotten closes its connection
    await anext(texts)
    run_id: str = response.headers["run-id"]
    return run_id


async def test_a_principal_over_its_streams_is_refused_and_nobody_else_is() -> None:
    """By POST and by GET with a header; when one of its streams ends there is room again."""
    async with limited(max_streams_per_principal=2) as stack, AsyncExitStack() as bobs:
        async with AsyncExitStack() as opened:
            run_id, _ = [await open_silent(stack, opened) for _ in range(2)]
            for answer in (
                await ask(stack),
                await stack.client.get(f"/api/runs/{run_id}/events", headers=ALICE),
                await stack.client.post(
                    "/api/chat",
                    json={"message": "a", "sessionId": "s"},
                    headers=ALICE | {"last-event-id": f"{run_id}.1.1"},
                ),
            ):
                assert 1 <= told(answer, "streams_per_principal") <= 10
                assert answer.json()["details"]["max"] == "2"
            await open_silent(stack, bobs, BOB)
            assert slots_of(stack).in_use == 3
        await until(lambda: slots_of(stack).held_by("alice") == 0)
        assert (await ask(stack)).status_code == 200
        assert slots_of(stack).held_by("bob") == 1
    assert (slots_of(stack).in_use, slots_of(stack).principals) == (0, 0)


async def test_an_event_source_over_the_limit_is_asked_to_come_back() -> None:
    """Any status but 200 would stop it for good: it gets a stream that ends, and its turn later."""
    async with limited(max_streams_per_principal=1) as stack:
        async with AsyncExitStack() as opened:
            run_id = await open_silent(stack, opened)
            made = (await stack.client.post(f"/api/runs/{run_id}/ticket", headers=ALICE)).json()
            for headers in ({}, {"authorization": "Basic YTpi"}):  # the latter is a proxy's
                answer = await stack.client.get(made["eventsUrl"], headers=headers)
                assert answer.status_code == 200
                assert answer.headers["content-type"] == "text/event-stream"
                retry, _, rest = answer.text.partition("\n")
                assert 2500 <= int(retry.removeprefix("retry: ")) <= 7500
                assert "data:" not in rest
        await until(lambda: slots_of(stack).in_use == 0)
        async with stack.client.stream("GET", made["eventsUrl"]) as response:
            assert "run_started" in await anext(response.aiter_text())


async def test_a_full_edge_refuses_starts_and_puts_followers_off() -> None:
    """Also where everybody is let in: there it is the only limit."""
    async with running_stack(
        max_streams=2, max_streams_per_principal=1, starts_per_minute=1, starts_burst=1
    ) as stack:
        async with AsyncExitStack() as opened:
            run_id, _ = [await open_silent(stack, opened, {}) for _ in range(2)]
            answer = await ask(stack, headers={})
            assert told(answer, "streams") >= 1
            assert "max" not in answer.json()["details"]
            follow = await stack.client.get(f"/api/runs/{run_id}/events")
            assert (follow.status_code, follow.text[:7]) == (200, "retry: ")
            assert (await stack.client.get(f"/api/runs/{run_id}")).status_code == 200
            accepted = await stack.start("a", agent="echo")
            assert accepted, "a run that is followed elsewhere takes no slot"
        await until(lambda: slots_of(stack).in_use == 0)


async def test_too_many_starts_are_told_exactly_when_there_is_room() -> None:
    """By either door, counted together; after Retry-After the next one is let in."""
    async with limited(starts_per_minute=30, starts_burst=3) as stack:
        now_s = 1000.0
        limits_of(stack)._clock_s = lambda: now_s  # a slow machine would fill the bucket meanwhile
        accept = ALICE | {"accept": "application/json"}
        answers = [await ask(stack), await ask(stack, headers=accept), await ask(stack)]
        assert [answer.status_code for answer in answers] == [200, 202, 200]
        for headers in (ALICE, accept):
            answer = await ask(stack, headers=headers)
            assert told(answer, "starts_per_minute") == 2
            assert answer.json()["details"]["max"] == "30"
        assert (await ask(stack, headers=BOB)).status_code == 200
        last_id = f"{answers[0].headers['run-id']}.1.1"
        assert (await ask(stack, headers=ALICE | {"last-event-id": last_id})).status_code == 200
        assert slots_of(stack).in_use == 0
        now_s += 1.9
        assert told(await ask(stack), "starts_per_minute") == 1
        now_s += 0.1
        assert (await ask(stack)).status_code == 200


async def test_a_burst_at_one_moment_is_counted_exactly() -> None:
    """Forty questions at once: as many streams as there are slots, and the others are told."""
    async with limited(max_streams_per_principal=7, starts_per_minute=1, starts_burst=100) as stack:
        async with AsyncExitStack() as opened:
            streams = [stack.chat(agent="silent", headers=ALICE) for _ in range(40)]
            responses = await asyncio.gather(*(opened.enter_async_context(stream) for stream in streams))
            statuses = [response.status_code for response in responses]
            assert (statuses.count(200), statuses.count(429)) == (7, 33)
            assert slots_of(stack).in_use == 7
        await until(lambda: slots_of(stack).in_use == 0)
        assert slots_of(stack).principals == 0


@pytest.mark.parametrize(
    ("agent", "status"), [("nobody", 404), ("raises_before", 200), ("refuses", 200), ("echo", 200)]
)
async def test_a_stream_that_fails_gives_its_slot_back(agent: str, status: int) -> None:
    """Refused by the core, failed by itself, or ended well."""
    async with limited(max_streams_per_principal=1) as stack:
        for _ in range(3):
            assert (await ask(stack, agent)).status_code == status
        assert slots_of(stack).in_use == 0


async def test_without_a_core_slots_come_back() -> None:
    """Starts that end in 503, and follows that are put off."""
    async with limited(max_streams_per_principal=1) as stack:
        await stack.core.stop()
        for _ in range(3):
            assert (await ask(stack)).status_code == 503
            follow = await stack.client.get(f"/api/runs/{'a' * 30}/events", headers=ALICE)
            assert follow.status_code == 200
        assert slots_of(stack).in_use == 0


async def test_a_drain_gives_all_slots_back() -> None:
    """Streams that the edge ends itself."""
    async with limited() as stack, AsyncExitStack() as opened:
        for _ in range(5):
            await open_silent(stack, opened)
        assert slots_of(stack).in_use == 5
        stack.drain.start()
        await until(lambda: slots_of(stack).in_use == 0)


async def test_a_client_that_never_reads_loses_its_slot_with_its_connection() -> None:
    """It is cut off at the write deadline."""
    async with limited(write_deadline_s=0.3, client_budget_bytes=1024) as stack:
        reader, writer = await raw_post(stack, agent="flood")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.transport.pause_reading()
        await until(lambda: slots_of(stack).in_use == 0)
        writer.transport.abort()


async def test_clients_that_vanish_anywhere_leave_no_slot_behind() -> None:
    """In the middle of their request, before the first byte, in the middle of the stream; all at once."""
    chance = random.Random(7)  # noqa: S311 # the same in every run
    async with limited(max_streams_per_principal=20, starts_per_minute=0) as stack:

        async def vanish(agent: str) -> None:
            reader, writer = await raw_post(stack, agent=agent, keep=chance.choice((None, None, -1, 40)))
            how = chance.randrange(4)
            try:
                if how == 1:
                    await asyncio.sleep(chance.random() * 0.05)
                elif how >= 2:
                    async with asyncio.timeout(0.5 * chance.random()):
                        await reader.readexactly(chance.choice((1, 100, 1000)))
            finally:
                writer.transport.abort()

        agents = ("silent", "slow", "echo", "scripted", "nobody")
        clients = [vanish(agents[number % len(agents)]) for number in range(VANISHING)]
        outcomes = await asyncio.gather(*clients, return_exceptions=True)
        unexpected = (asyncio.IncompleteReadError, TimeoutError, ConnectionError)
        assert all(outcome is None or isinstance(outcome, unexpected) for outcome in outcomes), outcomes
        await until(lambda: slots_of(stack).in_use == 0)
        assert slots_of(stack).principals == 0
        assert (await ask(stack)).status_code == 200


async def raw_post(
    stack: Stack, *, agent: str, keep: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a question over a bare connection, or only its first bytes."""
    parts = urlsplit(stack.url)
    assert parts.port is not None
    content = json.dumps(
        {"message": "hi", "sessionId": new_session(), "agent": agent, "onDisconnect": "cancel"}
    )
    request = (
        f"POST /api/chat HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: {ALICE['authorization']}\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port, limit=1024)
    writer.write(request[:keep])
    await writer.drain()
    return reader, writer
