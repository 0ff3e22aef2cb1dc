"""The AI SDK's routes, from the socket to the agent: what is asked, streamed, resumed, refused and cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import httpx
import pytest

from agent_core.agents.pace import pace_text
from edge.routes import ai_sdk
from tests.support.agents import SCRIPTED_TEXT
from tests.support.sse_reader import events_of
from tests.support.stack import Stack, new_session, running_stack
from tokenwire.telemetry.metrics.instruments import STREAMS_SERVED
from tokenwire.v1.agent_service_pb2 import FollowRunRequest
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub

both_ways = pytest.mark.usefixtures("transport")
"""Over links and over calls: where what carries a run could matter."""

CHAT = "/api/ai-sdk/chat"
BOUNDED_S = 20.0


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


def said(text: str, message_id: str = "u1", role: str = "user") -> dict[str, Any]:
    return {"id": message_id, "role": role, "parts": [{"type": "text", "text": text}]}


def body_of(chat_id: str, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": chat_id, "messages": [*messages] or [said("hi")], "trigger": "submit-message"} | more


async def ask(stack: Stack, body: dict[str, Any], agent: str = "scripted", **headers: str) -> httpx.Response:
    return await stack.client.post(CHAT, json=body, params={"agent": agent}, headers=headers)


def chunks_of(body: str) -> list[dict[str, Any]]:
    """Return a whole stream's chunks. Its last frame ends it."""
    *frames, done = [line[6:] for line in body.split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(frame) for frame in frames]


def text_of(body: str) -> str:
    return "".join(chunk["delta"] for chunk in chunks_of(body) if chunk["type"] == "text-delta")


@pytest.mark.usefixtures("metrics")
async def test_an_answer_is_a_ui_message_stream(stack: Stack) -> None:
    """With the headers of the protocol and of every stream, and counted under the dialect's name."""
    answer = await ask(stack, body_of(new_session()))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["x-workflow-run-id"] == answer.headers["run-id"]
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    chunks = chunks_of(answer.text)
    assert chunks[0] == {"type": "start", "messageId": answer.headers["run-id"]}
    assert chunks[-1]["type"] == "finish"
    assert text_of(answer.text) == SCRIPTED_TEXT
    async with asyncio.timeout(
        BOUNDED_S
    ):  # it is counted once the response is over, which its reader is before
        while not (served := STREAMS_SERVED.points()):
            await asyncio.sleep(0.01)
    assert {labels: point.value for labels, point in served.items()} == {("ai_sdk", "completed"): 1}


@pytest.mark.parametrize(
    ("messages", "more", "told"),
    [
        ([said("one"), said("1", "a1", "assistant"), said("two", "u2")], {}, "user: one\nassistant: 1\n"),
        ([said("two", "u2")], {}, "user: zero\nassistant: zero \n"),
        ([said("zero")], {"trigger": "regenerate-message"}, ""),
    ],
)
async def test_the_clients_conversation_counts_where_it_tells_one(
    stack: Stack, messages: list[dict[str, Any]], more: dict[str, Any], told: str
) -> None:
    """Else the session's memory; the native door sees the same session."""
    chat_id = new_session()
    assert text_of((await ask(stack, body_of(chat_id, said("zero", "u0")), "echo")).text) == "zero "
    assert text_of((await ask(stack, body_of(chat_id, *messages, **more), "recalls")).text) == told
    turns = (await stack.client.get(f"/api/sessions/{chat_id}/transcript")).json()["turns"]
    assert [turn["message"] for turn in turns] == ["zero", messages[-1]["parts"][0]["text"]]


async def test_a_question_that_is_sent_twice_is_one_run(stack: Stack) -> None:
    """A browser repeats a cut POST by itself; to write an answer anew is another matter."""
    chat_id = new_session()
    first, again = [await ask(stack, body_of(chat_id)) for _ in range(2)]
    assert first.text == again.text
    regenerate = body_of(chat_id, trigger="regenerate-message")
    anew = [(await ask(stack, regenerate)).headers["run-id"] for _ in range(2)]
    assert len({first.headers["run-id"], *anew}) == 3
    keyed = [await ask(stack, regenerate, **{"idempotency-key": chat_id}) for _ in range(2)]
    assert keyed[0].headers["run-id"] == keyed[1].headers["run-id"]
    nameless = [await ask(stack, {"message": said("hi")}) for _ in range(2)]
    assert nameless[0].headers["run-id"] != nameless[1].headers["run-id"]


async def test_a_question_whose_run_failed_is_asked_again(stack: Stack) -> None:
    """The failure itself is an error, a finish, and an end."""
    chat_id = new_session()
    answers = [await ask(stack, body_of(chat_id), "raises_after") for _ in range(2)]
    for answer in answers:
        assert [chunk["type"] for chunk in chunks_of(answer.text)][-2:] == ["error", "finish"]
        assert chunks_of(answer.text)[-1]["finishReason"] == "error"
    assert answers[0].headers["run-id"] != answers[1].headers["run-id"]


async def stream_lines(stack: Stack, url: str, lines: list[str], **more: Any) -> None:
    """Read a stream to its end, a line at a time."""
    async with stack.client.stream("GET" if not more else "POST", url, **more) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            lines += [line] if line.startswith("data: ") else []


@both_ways
async def test_a_chats_live_answer_is_replayed_and_stopped(stack: Stack) -> None:
    """From its first chunk, to every page that asks; stopped, all are told of an abort and a finish."""
    chat_id = new_session()
    asking: list[str] = []
    params = {"agent": "slow", "onDisconnect": "continue"}
    task = asyncio.create_task(stream_lines(stack, CHAT, asking, json=body_of(chat_id), params=params))
    while len(asking) < 6:
        await asyncio.sleep(0.01)
    busy = await ask(stack, body_of(chat_id, said("ho", "u2")))
    assert (busy.status_code, busy.headers["content-type"]) == (409, "text/plain; charset=utf-8")
    resuming: list[str] = []
    second = asyncio.create_task(stream_lines(stack, f"{CHAT}/{chat_id}/stream", resuming))
    while len(resuming) < 8:
        await asyncio.sleep(0.01)
    for _ in range(2):
        assert (await stack.client.post(f"{CHAT}/{chat_id}/stop")).status_code == 204
    async with asyncio.timeout(BOUNDED_S):
        await asyncio.gather(task, second)
    assert resuming == asking
    assert [json.loads(line[6:])["type"] for line in asking[-3:-1]] == ["abort", "finish"]


async def test_an_answer_that_has_ended_is_replayed_for_a_while(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a page that was loaded just before the end. Later there is nothing to resume; nor in a new chat."""
    chat_id = new_session()
    answer = await ask(stack, body_of(chat_id))
    assert (await stack.client.get(f"{CHAT}/{chat_id}/stream")).text == answer.text
    monkeypatch.setattr(ai_sdk, "REPLAY_S", -1.0)
    later = await stack.client.get(f"{CHAT}/{chat_id}/stream")
    assert (later.status_code, later.text) == (204, "")
    assert (await stack.client.get(f"{CHAT}/{new_session()}/stream")).status_code == 204
    # A run that is named is another matter.
    by_run = await stack.client.get(f"{CHAT}/{answer.headers['run-id']}/stream")
    assert by_run.text == answer.text


async def test_a_run_goes_on_behind_any_chunk(stack: Stack) -> None:
    """Counted from its beginning, or from the end that it has: the same bytes."""
    answer = await ask(stack, body_of(new_session()))
    url = f"{CHAT}/{answer.headers['run-id']}/stream"
    opening, *frames = answer.text.replace(": open\n", ": open\n\n").split("\n\n")
    count = len(chunks_of(answer.text))
    for start in (0, 1, 7, count - 1):
        rest = await stack.client.get(url, params={"startIndex": start})
        assert rest.text == f"{opening}\n" + "\n\n".join(frames[start:])
        assert "x-workflow-stream-tail-index" not in rest.headers
    for start in (1, 4, count, count + 9):
        rest = await stack.client.get(url, params={"startIndex": -start})
        assert rest.headers["x-workflow-stream-tail-index"] == str(count - 1)
        assert rest.text == f"{opening}\n" + "\n\n".join(frames[max(0, count - start) :])
    head = await stack.client.head(url)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")


@both_ways
async def test_the_last_chunks_of_a_live_run_are_counted_where_it_is(stack: Stack) -> None:
    """The index is that of the last chunk there was, and the stream goes on from there to the live end."""
    body = {"message": "hi", "sessionId": new_session(), "agent": "slow", "onDisconnect": "continue"}
    accepted = await stack.client.post("/api/chat", json=body, headers={"accept": "application/json"})
    run_id = accepted.json()["runId"]
    while int((await stack.client.get(f"/api/runs/{run_id}")).json()["last"].split(".")[2]) < 6:
        await asyncio.sleep(0.02)
    url = f"{CHAT}/{run_id}/stream?startIndex=-2"
    async with stack.client.stream("GET", url) as response:
        tail_index = int(response.headers["x-workflow-stream-tail-index"])
        lines = response.aiter_lines()
        frames: list[str] = []
        while len(frames) < 4:
            line = await anext(lines)
            frames += [line] if line.startswith("data: ") else []
        await lines.aclose()
    await stack.client.post(f"/api/runs/{run_id}/cancel")
    whole = (await stack.client.get(f"{CHAT}/{run_id}/stream")).text
    all_frames = [line for line in whole.split("\n") if line.startswith("data: ")]
    # start, start-step, text-start, and a chunk for each delta
    assert tail_index >= 7
    assert all_frames[tail_index - 1 : tail_index + 3] == frames


async def refused(answer: Awaitable[httpx.Response], status: int, words: str) -> None:
    """Return when a refusal is text fit for users: the client shows it as it is."""
    told = await answer
    assert (told.status_code, told.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert words in told.text
    assert "{" not in told.text


async def test_refusals_are_text(stack: Stack) -> None:
    """Of the edge and of the core, before anything is streamed."""
    file = {"type": "file", "mediaType": "image/png", "url": "data:,x"}
    odd: list[tuple[Awaitable[httpx.Response], int, str]] = [
        (ask(stack, body_of("c", said(""))), 400, "no text"),
        (ask(stack, body_of("c", said("hi", role="assistant"))), 400, "must be the user's"),
        (ask(stack, body_of("c", {"role": "user", "parts": [file]})), 400, "Files"),
        (ask(stack, body_of("c", messages=7)), 400, "messages"),
        (ask(stack, body_of("no spaces")), 400, "session_id"),
        (ask(stack, body_of("c"), "nobody"), 404, "agent"),
        (stack.client.post(CHAT, content=b"{", headers={"content-type": "application/json"}), 400, ""),
        (stack.client.post(CHAT, content=b"{}", headers={"content-type": "text/plain"}), 415, "JSON"),
        (stack.client.post(CHAT, json={}, headers={"sec-fetch-site": "cross-site"}), 403, "sites"),
        (stack.client.get(f"{CHAT}/{'a' * 30}/stream"), 410, ""),
        (stack.client.get(f"{CHAT}/c/stream?startIndex=x"), 400, "startIndex"),
    ]
    for answer, status, words in odd:
        await refused(answer, status, words)


@both_ways
async def test_a_draining_edge_cuts_its_clients_and_refuses_new_ones(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """A clean end would look like a whole answer; a status says why nothing is streamed. The run goes on."""
    lines: list[str] = []
    params = {"agent": "slow"}
    task = asyncio.create_task(stream_lines(stack, CHAT, lines, json=body_of("c"), params=params))
    while len(lines) < 5:
        await asyncio.sleep(0.01)
    stack.drain.start()
    async with asyncio.timeout(BOUNDED_S):
        with pytest.raises(httpx.RemoteProtocolError):
            await task
    assert "data: [DONE]" not in lines
    await refused(ask(stack, body_of("d")), 503, "going down")
    await refused(stack.client.get(f"{CHAT}/c/stream"), 503, "")
    run_id = json.loads(lines[0][6:])["messageId"]
    assert (await stack.client.get(f"/api/runs/{run_id}")).json()["state"] == "running"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_too_many_streams_are_refused_with_a_status() -> None:
    """Also without an Authorization header, as an `EventSource` would come: these clients are none."""
    async with running_stack(max_streams=1) as stack:
        lines: list[str] = []
        params = {"agent": "slow"}
        task = asyncio.create_task(stream_lines(stack, CHAT, lines, json=body_of("c"), params=params))
        while not lines:
            await asyncio.sleep(0.01)
        await refused(stack.client.get(f"{CHAT}/c/stream"), 429, "too many streams")
        await stack.client.post(f"{CHAT}/c/stop")
        await task


@both_ways
async def test_an_answer_that_the_log_has_trimmed_is_an_error() -> None:
    """What is left would look whole, and has no place in the protocol."""
    async with running_stack({"log_run_events": 8}) as stack:
        answer = await ask(stack, body_of("c"))
        assert text_of(answer.text) == SCRIPTED_TEXT  # it was read live
        replay = await stack.client.get(f"{CHAT}/c/stream")
        chunks = chunks_of(replay.text)
        assert [chunk["type"] for chunk in chunks] == ["error", "finish"]
        assert "too long" in chunks[0]["errorText"]


@both_ways
async def test_one_run_has_the_same_answer_in_every_dialect(stack: Stack) -> None:
    """Native, AI SDK and gRPC read one live run at once, some from late on: no character differs."""
    chat_id = new_session()
    message = json.dumps({"tokens": 150, "rate": 300})
    lines: list[str] = []
    params = {"agent": "pace"}
    body = body_of(chat_id, said(message))
    asking = asyncio.create_task(stream_lines(stack, CHAT, lines, json=body, params=params))
    while len(lines) < 4:
        await asyncio.sleep(0.005)
    run_id = json.loads(lines[0][6:])["messageId"]

    async def native() -> str:
        answer = await stack.client.get(f"/api/runs/{run_id}/events")
        return "".join(event["content"] for event in events_of(answer.text) if event["type"] == "text_delta")

    async def ai_sdk_again() -> str:
        return text_of((await stack.client.get(f"{CHAT}/{chat_id}/stream")).text)

    async def grpc_reader() -> str:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.core.port}") as channel:
            call = AgentServiceStub(channel).FollowRun(FollowRunRequest(run_id=run_id))
            return "".join([event.text_delta.content async for answer in call for event in answer.events])

    async with asyncio.timeout(BOUNDED_S):
        texts = await asyncio.gather(
            *(read() for read in (native, ai_sdk_again, grpc_reader) for _ in range(3))
        )
        await asking
    assert {*texts, text_of("\n".join(lines))} == {pace_text(150, 5)}
