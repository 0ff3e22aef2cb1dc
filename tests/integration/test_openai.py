"""OpenAI's own client, unmodified, before the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.agents import SCRIPTED_TEXT
from tests.support.stack import Stack, running_stack

BOUNDED_S = 20.0
COMPLETIONS = "/v1/chat/completions"


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[openai.AsyncOpenAI]:
    http = httpx.AsyncClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="x", http_client=http) as made:
        yield made


def said(*texts: str) -> Any:
    """Return a conversation in which user and assistant take turns."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


async def test_agents_are_models(client: openai.AsyncOpenAI) -> None:
    """The default first: what interfaces offer to choose from."""
    names = [model.id async for model in client.models.list()]
    assert names[0] == "scripted"
    assert {"pace", "recalls", "assistant"} < {*names}


async def test_an_answer_comes_whole_and_as_a_stream(client: openai.AsyncOpenAI) -> None:
    """The same text; the tokens used where they are asked for; the streaming helper is content, too."""
    whole = await client.chat.completions.create(model="scripted", messages=said("fruit?"), temperature=0.5)
    assert whole.choices[0].message.content == SCRIPTED_TEXT
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 17
    stream = await client.chat.completions.create(model="scripted", messages=said("fruit?"), stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SCRIPTED_TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"scripted"}
    async with client.chat.completions.stream(
        model="scripted", messages=said("fruit?"), stream_options={"include_usage": True}
    ) as helper:
        final = await helper.get_final_completion()
    assert final.choices[0].message.content == SCRIPTED_TEXT
    assert final.usage is not None
    assert final.usage.completion_tokens == 6


async def test_the_messages_are_the_whole_conversation(client: openai.AsyncOpenAI) -> None:
    """Each request is a session of its own: nothing is remembered from one to the next."""
    for _ in range(2):
        answer = await client.chat.completions.create(model="recalls", messages=said("a", "b", "c"))
        assert answer.choices[0].message.content == "user: a\nassistant: b\n"


async def test_failures_are_their_clients_own_errors(stack: Stack, client: openai.AsyncOpenAI) -> None:
    """By status before the answer, by an error object within it; no run is started a second time."""
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        await create(model="nobody", messages=said("hi"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        await create(model="echo", messages=said("hi", "ho"))
    assert refused.value.param == "messages"
    with pytest.raises(openai.InternalServerError) as failed:
        await create(model="raises_after", messages=said("hi"))
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert failed.value.code == "INTERNAL"
    stream = await create(model="raises_after", messages=said("hi"), stream=True)
    with pytest.raises(openai.APIError) as broken:
        _ = [chunk async for chunk in stream]
    assert broken.value.code == "INTERNAL"
    answer = await stack.client.post(COMPLETIONS, content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_run_is_an_error_and_never_a_stop(
    stack: Stack, client: openai.AsyncOpenAI, stream: bool
) -> None:
    """Whoever has stopped it: part of an answer must not look whole."""
    headers = {"idempotency-key": f"key-{stream}"}
    body = {"model": "slow", "messages": said("hi"), "stream": stream}

    async def ask() -> str:
        created: Any = await client.chat.completions.create(**body, extra_headers=headers)
        return "".join([chunk.choices[0].finish_reason or "" async for chunk in created]) if stream else ""

    task = asyncio.create_task(ask())
    run_id = await live_run(stack)
    await stack.client.post(f"/api/runs/{run_id}/cancel")
    async with asyncio.timeout(BOUNDED_S):
        with pytest.raises(openai.APIError) as raised:
            await task
    assert raised.value.code == "CANCELLED"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_its_run(
    stack: Stack, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """At once: there is nobody who could come back for it, and no slot is kept."""
    body = {"model": "slow", "messages": said("hi"), "stream": stream}

    async def ask() -> None:
        async with stack.client.stream("POST", COMPLETIONS, json=body) as response:
            await response.aread()

    task = asyncio.create_task(ask())
    run_id = await live_run(stack)
    task.cancel()
    async with asyncio.timeout(BOUNDED_S):
        state = await stack.ended(run_id)
    assert state["terminal"] == {"event": "done", "reason": "cancelled"}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def live_run(stack: Stack) -> str:
    """Return the id of the one run that goes on, once it has begun."""
    async with asyncio.timeout(BOUNDED_S):
        while not (live := [run for run in stack.core.manager.registry if run.begun.done()]):
            await asyncio.sleep(0.01)
    (run,) = live
    return run.record.run_id


async def test_a_request_with_a_key_is_one_run(stack: Stack) -> None:
    """Their clients repeat a request that failed on the way."""
    body = {"model": "scripted", "messages": said("hi")}
    headers = {"idempotency-key": "k"}
    answers = [await stack.client.post(COMPLETIONS, json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["run-id"] == answers[1].headers["run-id"]
    other = {**body, "messages": said("ho")}
    refused = await stack.client.post(COMPLETIONS, json=other, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ALREADY_EXISTS")


async def test_limits_and_a_drain_are_told_in_their_form() -> None:
    """Their clients come back where that may help, and after the time that they are told."""
    async with running_stack(max_streams=1) as stack:
        body = {"model": "slow", "messages": said("hi")}
        task = asyncio.create_task(stack.client.post(COMPLETIONS, json=body))
        run_id = await live_run(stack)
        busy = await stack.client.post(COMPLETIONS, json=body)
        assert (busy.status_code, busy.headers["x-should-retry"]) == (429, "true")
        assert int(busy.headers["retry-after"]) > 0
        assert busy.json()["error"]["type"] == "rate_limit_error"
        await stack.client.post(f"/api/runs/{run_id}/cancel")
        assert (await task).status_code == 499
        stack.drain.start()
        going = await stack.client.post(COMPLETIONS, json=body)
        assert (going.status_code, going.json()["error"]["type"]) == (503, "server_error")
