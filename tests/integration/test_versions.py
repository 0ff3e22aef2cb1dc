"""Cores and edges of different versions, as they meet while an installation is renewed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx
import pytest

from tests.integration.test_core_stream import assert_dense
from tests.support.agents import SCRIPTED_TEXT
from tests.support.core import Core, running_core
from tests.support.link_client import linked
from tests.support.sse_reader import events_of, ids_of
from tests.support.stack import new_session, running_edge
from tests.support.versions import (
    SERVICE,
    UNKNOWN,
    UNKNOWN_VALUE,
    Contract,
    Method,
    before_links,
    newer,
    released,
    speaking,
)
from tokenwire.v1.link_pb2 import LinkRequest

OLDER: Final = {"before links": before_links, "released": released}


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with running_core() as running:
        yield running


async def chat(client: httpx.AsyncClient, agent: str = "scripted", **more: Any) -> httpx.Response:
    body = {"message": "a b c", "sessionId": new_session(), "agent": agent, **more}
    answer = await client.post("/api/chat", json=body)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(
    ("contract", "transport"),
    [(before_links, "call"), (released, "call"), (newer, "link")],
    ids=["before links", "released", "newer"],
)
async def test_an_edge_serves_runs_of_a_core_of_another_version(
    core: Core, sources: Counter[str], contract: Callable[[], Contract], transport: str
) -> None:
    """An older one is read by calls; what a newer one says beyond this version is passed over."""
    async with (
        speaking(contract(), f"127.0.0.1:{core.server.port}") as address,
        running_edge(address, waits_for_links=transport == "link") as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        answer = await chat(client)
        events, ids = events_of(answer.text), ids_of(answer.text)
        run_id = events[0]["runId"]
        assert "".join(event.get("content", "") for event in events if event["type"] == "text_delta") == (
            SCRIPTED_TEXT
        )
        assert events[-1]["type"] == "done"
        assert ("custom" in {event["type"] for event in events}) is (contract is not newer)
        again = await client.get(f"/api/runs/{run_id}/events", headers={"last-event-id": ids[2]})
        assert ids_of(again.text)[-1] == ids[-1]
        assert events_of(again.text)[-1] == events[-1]
        assert (await client.get(f"/api/runs/{run_id}")).json()["state"] == "ended"
    assert bool(sources["call"]) is (transport == "call")


@pytest.mark.parametrize("contract", OLDER)
async def test_a_core_serves_edges_of_older_versions(core: Core, contract: str) -> None:
    """Which start, follow, ask and cancel as they always did; what they read is what is read today."""
    methods = OLDER[contract]().methods
    expected = await core.events("scripted")
    responses = await called(
        core, methods, "StreamRun", run={"agent": "scripted", "message": "hi"}, relay=True
    )
    events = [event for response in responses for event in response.events]
    assert [event.WhichOneof("payload") for event in events] == [
        event.WhichOneof("payload") for event in expected
    ]
    assert_dense(events)
    run_id = events[0].run_started.run_id
    after = {"epoch": 1, "sequence": 3}
    followed = await called(core, methods, "FollowRun", run_id=run_id, after=after, relay=True)
    assert [event for response in followed for event in response.events] == events[3:]
    (state,) = await called(core, methods, "GetRun", run_id=run_id)
    assert state.run.run_id == run_id
    (started,) = await called(core, methods, "StartRun", run={"agent": "slow", "message": "hi"})
    (cancelled,) = await called(core, methods, "CancelRun", run_id=started.run.run_id)
    assert cancelled.run.run_id == started.run.run_id


async def called(core: Core, methods: Any, name: str, **fields: Any) -> list[Any]:
    """Return what an older client of an rpc is answered."""
    method: Method = methods[name]
    channel: Any = core.channel
    call = channel.unary_stream(
        f"/{SERVICE}/{name}",
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )(method.request(**fields), timeout=20)
    return [response async for response in call]


async def test_a_core_passes_over_what_newer_edges_say_on_a_link(core: Core) -> None:
    """A request of another kind, fields that it does not know, a reason that counts as the edge's own end."""
    async with linked(core) as link:
        await link.send(LinkRequest.FromString(UNKNOWN))
        await link.start(1, "scripted")
        assert (await link.ended(1)).events[-1].HasField("done")
        assert_dense(link.events(1))
        await link.start(2, "slow", on_disconnect="ON_DISCONNECT_CANCEL")
        await link.until(lambda: bool(link.events(2)))
        await link.unfollow(2, UNKNOWN_VALUE)
        await link.follow(3, link.run_id(2))
        await link.until(lambda: len(link.events(3)) > len(link.events(2)))
        assert not link.call.done()
