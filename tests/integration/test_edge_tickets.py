"""Tickets at the real edge: what one opens, and what it does not."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse

from edge.http.authentication import Tickets, ticket_key
from tests.support.spans import Spans, spans
from tests.support.sse_reader import events_of, ids_of
from tests.support.stack import Stack, running_edge, running_stack

pytestmark = pytest.mark.usefixtures("transport")

__all__ = ["spans"]

PRINCIPAL_KEY = "p" * 32
KEYS = {name: f"tw_{name}-secret" for name in ("alice", "bob")}
ENTRIES = ",".join(f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items())
ALICE, BOB = ({"authorization": f"Bearer {key}"} for key in KEYS.values())
EDGE: dict[str, Any] = {"auth": "keys", "api_keys": ENTRIES, "principal_key": PRINCIPAL_KEY}


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack({"principal_key": PRINCIPAL_KEY}, **EDGE) as running:
        yield running


async def start(stack: Stack, message: str = "a b c", agent: str = "echo") -> str:
    """Start a run of alice's and return its id."""
    stack.client.headers.update(ALICE)
    try:
        return await stack.start(message, agent=agent)
    finally:
        del stack.client.headers["authorization"]


async def ticket(stack: Stack, run_id: str) -> dict[str, Any]:
    answer = await stack.client.post(f"/api/runs/{run_id}/ticket", headers=ALICE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


def refused(answer: httpx.Response, reason: str) -> bool:
    """Return whether the answer is the one that proves nothing."""
    return (
        answer.status_code == 401
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json()["details"]["reason"] == reason
    )


async def test_a_ticket_opens_its_runs_events_without_a_header(stack: Stack) -> None:
    """All of them, as the header does; a foreign parser reads them; and again, after any of them."""
    run_id = await start(stack)
    made = await ticket(stack, run_id)
    assert made["eventsUrl"] == f"/api/runs/{run_id}/events?ticket={made['ticket']}"
    left_s = datetime.fromisoformat(made["expiresAt"]).timestamp() - time.time()
    assert 500 < left_s <= 600
    async with aconnect_sse(stack.client, "GET", made["eventsUrl"]) as source:
        events = [event async for event in source.aiter_sse()]
    by_header = await stack.client.get(f"/api/runs/{run_id}/events", headers=ALICE)
    assert [event.id for event in events] == ids_of(by_header.text)
    again = await stack.client.get(made["eventsUrl"], headers={"last-event-id": events[1].id})
    assert ids_of(again.text) == [event.id for event in events[2:]]
    after = await stack.client.get(
        made["eventsUrl"], params={"ticket": made["ticket"], "after": events[1].id}
    )
    assert after.text.split("id:")[1:] == again.text.split("id:")[1:]
    done = await stack.client.get(made["eventsUrl"], headers={"last-event-id": events[-1].id})
    assert done.status_code == 204


async def test_only_who_may_follow_gets_a_ticket(stack: Stack) -> None:
    """For others the run does not exist; who says nothing is asked who it is; a made-up id is no run."""
    path = f"/api/runs/{await start(stack)}/ticket"
    assert (await stack.client.post(path, headers=BOB)).status_code == 404
    assert refused(await stack.client.post(path), "CREDENTIALS_MISSING")
    assert (await stack.client.post(f"/api/runs/{'a' * 30}/ticket", headers=ALICE)).status_code in {404, 410}
    assert (await stack.client.post("/api/runs/x/ticket", headers=ALICE)).status_code == 400


async def test_a_ticket_is_good_for_nothing_else(stack: Stack) -> None:
    """No other run, no state, no Stop, no further ticket, no question; and it is no key."""
    run_id, other = await start(stack, agent="silent"), await start(stack)
    text = (await ticket(stack, run_id))["ticket"]
    params = {"ticket": text}
    bearer = {"authorization": f"Bearer {text}"}
    get, post = stack.client.get, stack.client.post
    body = {"message": "a", "sessionId": "s", "agent": "echo"}
    assert refused(await get(f"/api/runs/{other}/events", params=params), "TICKET_INVALID")
    for answer in (
        await get(f"/api/runs/{run_id}", params=params),
        await post(f"/api/runs/{run_id}/cancel", params=params),
        await post(f"/api/runs/{run_id}/ticket", params=params),
        await post("/api/chat", params=params, json=body),
        await post("/api/chat", params=params, json=body, headers={"last-event-id": f"{run_id}.1.1"}),
    ):
        assert refused(answer, "CREDENTIALS_MISSING")
    for answer in (
        await get(f"/api/runs/{run_id}/events", headers=bearer),
        await post(f"/api/runs/{run_id}/cancel", headers=bearer),
    ):
        assert refused(answer, "KEY_INVALID")
    assert (await get(f"/api/runs/{run_id}", headers=ALICE)).json()["state"] == "running"
    assert (await post(f"/api/runs/{run_id}/cancel", headers=ALICE)).status_code == 200


async def test_a_ticket_that_is_not_valid_is_refused_beside_a_good_header(stack: Stack) -> None:
    """Changed, expired, empty or made with another key: what was presented is what counts."""
    run_id = await start(stack)
    text = (await ticket(stack, run_id))["ticket"]
    key = ticket_key("", PRINCIPAL_KEY)
    long_ago = Tickets(key, lifetime_s=60, now_unix_s=lambda: time.time() - 3600)
    for bad, reason in (
        (text[:-2] + ("AA" if text[-2:] != "AA" else "BB"), "TICKET_INVALID"),
        ("", "TICKET_INVALID"),
        ("é" * 20, "TICKET_INVALID"),
        (KEYS["alice"], "TICKET_INVALID"),
        (Tickets(b"o" * 32, lifetime_s=60).issue("alice", run_id).text, "TICKET_INVALID"),
        (long_ago.issue("alice", run_id).text, "TICKET_EXPIRED"),
    ):
        answer = await stack.client.get(f"/api/runs/{run_id}/events", params={"ticket": bad}, headers=ALICE)
        assert refused(answer, reason), (bad, answer.text)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_proxys_own_header_does_not_spoil_a_ticket(stack: Stack) -> None:
    """A site behind basic authentication sends it along."""
    made = await ticket(stack, await start(stack))
    answer = await stack.client.get(made["eventsUrl"], headers={"authorization": "Basic YTpi"})
    assert events_of(answer.text)[-1]["type"] == "done"


async def test_any_edge_takes_another_edges_ticket(stack: Stack) -> None:
    """Without a word between them: the principal key is enough."""
    made = await ticket(stack, await start(stack))
    async with (
        running_edge(f"127.0.0.1:{stack.core.port}", **EDGE) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        answer = await client.get(made["eventsUrl"])
    assert events_of(answer.text)[-1]["type"] == "done"


async def test_a_ticket_is_in_no_log_line_and_no_span(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    """Neither one that opens a stream nor one that is refused."""
    for name in ("httpx", "httpcore"):  # the test's own client
        caplog.set_level(logging.WARNING, name)
    caplog.set_level(logging.DEBUG)
    async with running_stack({"principal_key": PRINCIPAL_KEY}, **EDGE) as stack:
        run_id, other = await start(stack), await start(stack)
        made = await ticket(stack, run_id)
        assert events_of((await stack.client.get(made["eventsUrl"])).text)[-1]["type"] == "done"
        answer = await stack.client.get(f"/api/runs/{other}/events", params={"ticket": made["ticket"]})
        assert refused(answer, "TICKET_INVALID")
        assert made["ticket"] not in answer.text
        await spans.wait_for("GET /api/runs/{run_id}/events", "POST /api/runs/{run_id}/ticket")
    told = "".join(span.to_json() for span in spans.all()) + caplog.text
    assert run_id in told
    assert "a ticket was refused" in told
    assert made["ticket"].rpartition(".")[0] not in told


async def test_where_everybody_is_let_in_tickets_work_all_the_same() -> None:
    """A page that was written for one edge works at the other; a bad ticket is bad there, too."""
    async with running_stack() as stack:
        run_id = await stack.start("a", agent="echo")
        made = (await stack.client.post(f"/api/runs/{run_id}/ticket")).json()
        assert events_of((await stack.client.get(made["eventsUrl"])).text)[-1]["type"] == "done"
        answer = await stack.client.get(f"/api/runs/{run_id}/events", params={"ticket": "x"})
        assert refused(answer, "TICKET_INVALID")


async def test_an_edge_without_any_key_takes_its_own_tickets_alone() -> None:
    """The key is random then: it works for one process, and for nobody who guesses."""
    async with running_stack() as stack:
        run_id = await stack.start("a", agent="echo")
        made = (await stack.client.post(f"/api/runs/{run_id}/ticket")).json()
        async with (
            running_edge(f"127.0.0.1:{stack.core.port}") as (_, _, url),
            httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
        ):
            assert refused(await client.get(made["eventsUrl"]), "TICKET_INVALID")
            assert (await client.get(f"/api/runs/{run_id}/events")).status_code == 200
