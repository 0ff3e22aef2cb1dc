"""A run that asks a person, through an edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.stack import Stack, running_stack

QUESTIONS = [
    {"prompt": "Which?", "kind": "choice", "options": ["red", "blue"]},
    {"prompt": "Who?", "kind": "json", "schema": {"type": "object", "required": ["age"]}},
]
BIG = 123456789012345678901234567890


class Asking:
    """A run that is followed over SSE."""

    def __init__(self, stack: Stack, run_id: str) -> None:
        self.stack, self.run_id = stack, run_id

    async def send(self, input_id: str, body: object, key: str = "") -> httpx.Response:
        """Send an answer."""
        headers = {"idempotency-key": key} if key else {}
        path = f"/api/runs/{self.run_id}/inputs/{input_id}"
        return await self.stack.client.post(path, json=body, headers=headers)

    async def problem(self, input_id: str, body: object) -> tuple[int, dict[str, Any]]:
        """Return the status and the details of a refused answer."""
        answer = await self.send(input_id, body)
        assert answer.headers["content-type"].startswith("application/problem+json")
        return answer.status_code, answer.json().get("details", {})

    async def state(self) -> str:
        """Return the run's state."""
        state: str = (await self.stack.client.get(f"/api/runs/{self.run_id}")).json()["state"]
        return state

    async def until(self, kind: str, after: str = "") -> dict[str, Any]:
        """Return the first event of a type, reading from the beginning or after an event: a reload."""
        params = {"after": after} if after else {}
        path = f"/api/runs/{self.run_id}/events"
        async with asyncio.timeout(10), self.stack.client.stream("GET", path, params=params) as stream:
            event_id = ""
            data: dict[str, Any] = {}
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    data = json.loads(line[6:])
                if line.startswith("id: ") and data.get("type") == kind:
                    event_id = line[4:]
                    return data | {"id": event_id}
        raise AssertionError(f"no {kind}")


@pytest.fixture(params=["auto", "off"], ids=["link", "call"])
async def asking(request: pytest.FixtureRequest) -> AsyncIterator[Asking]:
    """A run that asks two questions, over a link and over a call."""
    core = {"agent": "asks=tests.support.asking_agents:asks"}
    async with running_stack(core, link=request.param) as stack:
        yield Asking(stack, await stack.start(json.dumps(QUESTIONS), agent="asks"))


async def test_a_question_is_answered_over_http(asking: Asking) -> None:
    """Once, by whoever reads it, also after a reload; each refusal has its own status."""
    asked = await asking.until("input_requested")
    assert {name: asked[name] for name in ("inputId", "kind", "prompt", "schema")} == {
        "inputId": "1",
        "kind": "choice",
        "prompt": "Which?",
        "schema": {"enum": ["red", "blue"]},
    }
    assert await asking.until("input_requested") == asked
    assert await asking.state() == "waiting"
    status, details = await asking.problem("1", {"value": "green"})
    assert (status, details["field"], details["violation"]) == (400, "value", "must be one of the options")
    for wrong in ({}, {"decline": False}, {"value": "red", "decline": True}, {"decline": "yes"}, [], None):
        assert (await asking.problem("1", wrong))[0] == 400
    assert await asking.problem("3", {"value": "red"}) == (404, {"reason": "INPUT_UNKNOWN"})
    sent = await asyncio.gather(*(asking.send("1", {"value": value}) for value in ("red", "blue", "red")))
    assert sorted(answer.status_code for answer in sent) == [200, 409, 409]
    answered = next(answer for answer in sent if answer.status_code == 200)
    assert answered.json() == {"inputId": "1", "outcome": "answered"}
    assert await asking.problem("1", {"decline": True}) == (
        409,
        {"reason": "INPUT_CLOSED", "outcome": "answered"},
    )
    second = await asking.until("input_requested", after=asked["id"])
    assert second["inputId"] == "2"
    first = await asking.send("2", {"value": {"age": BIG}}, key="k")
    assert (first.status_code, first.json()["outcome"]) == (200, "answered")
    done = await asking.until("done")
    assert f'{{"age": {BIG}}}' in done["finalMessage"]
    assert await asking.problem("2", {"value": None}) == (409, {"reason": "INPUT_CLOSED"})


async def test_an_answer_is_repeated_by_its_key(asking: Asking) -> None:
    """As after a response that was lost."""
    await asking.until("input_requested")
    first = await asking.send("1", {"decline": True}, key="k")
    again = await asking.send("1", {"decline": True}, key="k")
    assert first.json() == again.json() == {"inputId": "1", "outcome": "declined"}
    assert (await asking.send("1", {"decline": True}, key="other")).status_code == 409
