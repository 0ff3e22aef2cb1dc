"""Resuming over HTTP: at every event of a run, by header, query and a repeated POST."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.sse_reader import events_of, ids_of
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


async def test_a_run_is_resumed_at_every_one_of_its_events(stack: Stack) -> None:
    """What comes after a cursor is exactly what the client lacks; after the last there is nothing: 204."""
    run_id = await stack.start("a b c d e", agent="echo")
    await stack.ended(run_id)
    url = f"/api/runs/{run_id}/events"
    last = (await stack.client.get(f"/api/runs/{run_id}")).json()["last"]
    count = int(last.rsplit(".", 1)[1])
    for sequence in range(count):
        cursor = f"{run_id}.1.{sequence}"
        by_header = await stack.client.get(url, headers={"last-event-id": cursor})
        by_query = await stack.client.get(url, params={"after": cursor})
        # event-source-polyfill keeps the URL that it was opened with, and says lastEventId behind it.
        older = f"{run_id}.1.0"
        by_polyfill = await stack.client.get(url, params={"after": older, "lastEventId": cursor})
        assert events_of(by_header.text) == events_of(by_query.text) == events_of(by_polyfill.text)
        text = "".join(e["content"] for e in events_of(by_header.text) if e["type"] == "text_delta")
        words = ["", "a ", "b ", "c ", "d ", "e "]
        assert text == "".join(words[max(1, sequence) :])
        assert ids_of(by_header.text)[-1] == last
    for end in (
        await stack.client.get(url, headers={"last-event-id": last}),
        await stack.client.get(url, params={"lastEventId": last}),
    ):
        assert (end.status_code, end.content) == (204, b"")


async def test_a_repeated_post_resumes_and_starts_nothing(stack: Stack) -> None:
    """fetch-event-source repeats its POST after a drop: the user pays for one run."""
    async with stack.chat("a b c", agent="echo") as response:
        body = await response.aread()
    ids = ids_of(body.decode())
    repeated = {"message": "a b c", "sessionId": "s1", "agent": "echo"}
    resumed = await stack.client.post("/api/chat", json=repeated, headers={"last-event-id": ids[0]})
    told = events_of(resumed.text)
    assert "".join(event["content"] for event in told[:-1]) == "a b c ", "merged as it may be"
    assert told[-1] == events_of(body.decode())[-1]
    assert ids_of(resumed.text)[-1] == ids[-1]
    at_the_end = await stack.client.post("/api/chat", json=repeated, headers={"last-event-id": ids[-1]})
    assert at_the_end.status_code == 200
    assert [event["type"] for event in events_of(at_the_end.text)] == ["done"]


@pytest.mark.parametrize(
    "cursor", ["x", "1", "../../x", f"{'a' * 30}.1.99999999999999999999", f"{'b' * 30}.1.1"]
)
async def test_a_cursor_that_is_none_is_refused_before_the_200(stack: Stack, cursor: str) -> None:
    """A damaged or foreign id is a 400, never a stream from somewhere: wherever it stands, beside what."""
    run_id = await stack.start("a", agent="echo")
    url, good = f"/api/runs/{run_id}/events", f"{run_id}.1.1"
    by_header = [
        await stack.client.get(url, headers=[("last-event-id", each) for each in given])
        for given in ([cursor], [good, cursor], [cursor, good])
    ]
    repeated = {"message": "a", "sessionId": "s1", "agent": "echo"}
    by_header += [
        await stack.client.post(
            "/api/chat", json=repeated, headers=[("last-event-id", each) for each in (good, cursor)]
        )
    ]
    in_query = {
        name: [
            await stack.client.get(
                url, params=[(name, good), (name, cursor)], headers={"last-event-id": good}
            )
        ]
        for name in ("lastEventId", "after")
    }
    for name, answers in {"Last-Event-ID": by_header, **in_query}.items():
        told = [(answer.status_code, answer.json().get("details")) for answer in answers]
        assert told == [(400, {"field": name})] * len(answers)
