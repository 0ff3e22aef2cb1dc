"""AG-UI's routes, from the socket to the agent: what is asked, streamed, resumed, refused and cut."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.agents import SCRIPTED_TEXT
from tests.support.stack import Stack, new_session, running_stack

RUN = "/api/ag-ui"
BOUNDED_S = 20.0


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


def body_of(thread: str, *messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    told = [{"id": f"m{n}", "role": role, "content": content} for n, (role, content) in enumerate(messages)]
    return {"threadId": thread, "runId": "r1", "messages": told, "tools": [], "state": {}} | more


async def ask(stack: Stack, body: dict[str, Any], agent: str = "scripted") -> httpx.Response:
    return await stack.client.post(RUN, json=body, params={"agent": agent})


def events_of(body: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: ")]


def text_of(body: str) -> str:
    return "".join(event["delta"] for event in events_of(body) if event["type"] == "TEXT_MESSAGE_CONTENT")


async def test_an_answer_carries_the_clients_names(stack: Stack) -> None:
    """The thread's and the run's; our own is in the header. Sent twice, it is one run."""
    thread = new_session()
    answer, again = [await ask(stack, body_of(thread, ("user", "hi"))) for _ in range(2)]
    assert answer.status_code == 200
    told = events_of(answer.text)
    assert (told[0]["threadId"], told[0]["runId"]) == (thread, "r1")
    assert (told[-1]["type"], told[-1]["runId"]) == ("RUN_FINISHED", "r1")
    assert text_of(answer.text) == SCRIPTED_TEXT
    assert again.text == answer.text
    assert again.headers["run-id"] == answer.headers["run-id"]


async def test_the_clients_conversation_counts_where_it_tells_one(stack: Stack) -> None:
    """Else the session's memory."""
    thread = new_session()
    await ask(stack, body_of(thread, ("user", "zero")), "echo")
    told = [("user", "one"), ("assistant", "1"), ("user", "two")]
    answer = await ask(stack, body_of(thread, *told, runId="r2"), "recalls")
    assert text_of(answer.text) == "user: one\nassistant: 1\n"
    answer = await ask(stack, body_of(thread, ("user", "three"), runId="r3"), "recalls")
    assert text_of(answer.text).startswith("user: zero\nassistant: zero \nuser: two\n")


async def test_a_run_goes_on_behind_any_frame(stack: Stack) -> None:
    """Also in the middle of an event; behind the last one there is nothing."""
    answer = await ask(stack, body_of(new_session(), ("user", "hi")))
    url = f"{RUN}/runs/{answer.headers['run-id']}"
    frames = re.findall(r"data: .*\nid: .*\n\n", answer.text)
    for number, frame in enumerate(frames[:-1]):
        after = frame.split("\nid: ")[1].strip()
        rest = await stack.client.get(url, params={"after": after, "runId": "r1"})
        assert rest.text == ": open\n" + "".join(frames[number + 1 :])
    last = await stack.client.get(url, params={"after": frames[-1].split("\nid: ")[1].strip()})
    assert last.status_code == 204
    whole = await stack.client.get(url)
    assert len(events_of(whole.text)) == len(frames)


async def test_failures_are_run_errors_and_refusals_are_text(stack: Stack) -> None:
    """Their client shows the body of a refusal as it is."""
    failed = await ask(stack, body_of(new_session(), ("user", "hi")), "raises_after")
    assert events_of(failed.text)[-1] == {
        "type": "RUN_ERROR",
        "message": "The agent failed.",
        "code": "INTERNAL",
    }
    refused = [
        await ask(stack, body_of("t", ("assistant", "hi"))),
        await ask(stack, body_of("t", ("user", "hi"), tools=[{"name": "t"}])),
        await stack.client.get(f"{RUN}/runs/{failed.headers['run-id']}?after=x"),
        await stack.client.get(f"{RUN}/runs/{'a' * 30}"),
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 400, 410]
    for answer in refused:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_draining_edge_cuts_its_clients(stack: Stack) -> None:
    """A clean end without `RUN_FINISHED` is success to their client."""
    seen: list[str] = []

    async def read() -> None:
        body = body_of("t", ("user", "hi"))
        async with stack.client.stream("POST", RUN, json=body, params={"agent": "slow"}) as response:
            async for line in response.aiter_lines():
                seen.append(line)  # noqa: PERF401 # as they come

    task = asyncio.create_task(read())
    while len(seen) < 6:
        await asyncio.sleep(0.01)
    stack.drain.start()
    async with asyncio.timeout(BOUNDED_S):
        with pytest.raises(httpx.RemoteProtocolError):
            await task
    assert (await ask(stack, body_of("t2", ("user", "hi")))).status_code == 503
    follow = await stack.client.get(f"{RUN}/runs/{'a' * 30}")
    assert follow.status_code == 503
