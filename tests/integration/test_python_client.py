"""The Python client against a real edge and real cores: whatever breaks, each event once and in order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace

import grpc
import httpx
import pytest

from agent_core.agents.pace import pace_text
from tests.support.agents import RICH_TEXT
from tests.support.client_runs import WAYS, assert_whole, behind, read, sequences_of, url_of
from tests.support.proxy import proxy_to
from tests.support.scripted_core import RUN_ID, Leg, ScriptedCore, serving
from tests.support.stack import new_session, running_core, running_edge, running_stack
from tokenwire import events
from tokenwire.client import Client, ClientError, Item, RefusedError
from tokenwire.client.sse_transport import SseTransport
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Done, Event, RunStarted, TextDelta
from tokenwire.v1.stream_pb2 import Control, Draining

CLIENTS = 12
PACE = {"agent": "pace", "message": json.dumps({"tokens": 60, "rate": 200})}
"""Speaks for 0.3 s."""

NOT_RICH = {events.Error, events.InputRequested, events.InputReceived}
"""The events that `rich` does not have."""

TWO_QUESTIONS = json.dumps([{"prompt": "Delete?"}, {"prompt": "Which?", "kind": "choice", "options": ["a"]}])


@pytest.mark.parametrize("way", WAYS)
async def test_both_ways_answer_a_run(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Once; a wrong answer leaves the question open. The wait is neither time of the run nor a stall."""
    async with (
        running_stack({"agent": "asks=tests.support.asking_agents:asks"}) as stack,
        Client(url_of(stack, way)) as client,
    ):
        run = await client.start(TWO_QUESTIONS, timeout_s=0.6)
        outcomes = []
        async for event in run:
            if isinstance(event, events.InputRequested) and event.kind == "approval":
                assert (await run.state()).state == "waiting"
                await asyncio.sleep(1.0)
                outcomes.append(await run.send_input(event.input_id, value=True))
                with pytest.raises(RefusedError) as closed:
                    await client.send_input(run.id, event.input_id, decline=True)
                assert (closed.value.reason, closed.value.details["outcome"]) == ("INPUT_CLOSED", "answered")
            elif isinstance(event, events.InputRequested):
                with pytest.raises(RefusedError) as refused:
                    await run.send_input(event.input_id, "b")
                assert refused.value.code == "INVALID_ARGUMENT"
                outcomes.append(await run.send_input(event.input_id, decline=True))
            elif isinstance(event, events.InputReceived):
                outcomes.append(event.outcome)
        assert outcomes == ["answered", "answered", "declined", "declined"]
        assert isinstance(run.terminal, events.Done)
        assert "true null" in run.terminal.final_message
        assert "stall" not in caplog.text


@pytest.mark.parametrize("way", WAYS)
async def test_both_ways_yield_the_same_run(way: str) -> None:
    """Every kind of event, with its id; its state, and its session's runs and turns."""
    async with running_stack(merge=False) as stack, Client(url_of(stack, way)) as client:
        session = new_session()
        run = await client.start("hi", agent="rich", session_id=session, user_id="ann")
        items = await read(run)
        assert_whole(items, "".join(RICH_TEXT))
        assert {type(item.event) for item in items} == {*events.StreamEvent.__args__} - NOT_RICH
        async with Client(url_of(stack, "grpc" if way == "sse" else "sse")) as other:
            assert await read(other.follow(run.id)) == items
            assert await read(other.follow(run.id, after=items[4].id)) == items[5:]
            assert await read(other.follow(run.id, after=items[-1].id)) == []
            assert await other.runs(session) == await client.runs(session)
            assert await other.get(run.id) == await run.state()
            transcript = await other.transcript(session, newest_first=True)
        assert (transcript, [turn.text for turn in transcript.turns]) == (
            await client.transcript(session),
            ["".join(RICH_TEXT)],
        )


class Recorded(httpx.AsyncBaseTransport):
    """Answers as an edge did, cut after so many bytes: each answer is asked of the edge only once."""

    def __init__(self, edge: httpx.AsyncClient) -> None:
        self.cut_at: int | None = None
        """After how many bytes the next answer is cut."""
        self.requests = 0
        self._edge = edge
        self._answers: dict[tuple[str, str], httpx.Response] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        path, last_id = request.url.raw_path.decode(), request.headers.get("last-event-id", "")
        if (path, last_id) not in self._answers:
            headers = {"last-event-id": last_id} if last_id else {}
            self._answers[path, last_id] = await self._edge.get(path, headers=headers)
        answer = self._answers[path, last_id]
        cut_at, self.cut_at = self.cut_at, None
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=Piece(answer.content, cut_at)
        )


class Piece(httpx.AsyncByteStream):
    """A body that breaks."""

    def __init__(self, body: bytes, cut_at: int | None) -> None:
        self._body = body
        self._cut_at = cut_at

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: self._cut_at]
        if self._cut_at is not None:
            raise httpx.ReadError("cut")


async def test_a_recorded_run_is_whole_after_a_cut_at_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client has before the cut, and what the edge gives after it, join to the run."""
    monkeypatch.setattr("tokenwire.client.retrying.FIRST_WAIT_S", 0.0)
    async with running_stack(merge=True) as stack:
        run_id = await stack.start(agent="rich", onDisconnect="continue")
        await stack.ended(run_id)
        size = len((await stack.client.get(f"/api/runs/{run_id}/events")).content)
        assert 1_000 < size < 6_000
        async with Client(stack.url) as client:
            assert isinstance(client._transport, SseTransport)
            recorded = Recorded(stack.client)
            await client._transport._http.aclose()
            client._transport._http = httpx.AsyncClient(transport=recorded, base_url=stack.url)
            # `retry:` of the opening would be waited for, each time.
            monkeypatch.setattr("tokenwire.client.retrying.asyncio", SimpleNamespace(sleep=_no_wait))
            for cut_at in range(size + 1):
                recorded.cut_at = cut_at
                assert_whole(await read(client.follow(run_id)), "".join(RICH_TEXT))
            assert recorded.requests > size


async def _no_wait(_: float) -> None:
    pass


async def test_a_call_that_ends_at_any_message_is_taken_up_there() -> None:
    """Over gRPC, however it ends: by a code of the transport, or by OK without a terminal event."""
    async with (
        running_core() as core,
        grpc.aio.insecure_channel(f"127.0.0.1:{core.port}") as channel,
    ):
        request = pb.StreamRunRequest(run={"agent": "rich", "message": "hi"})
        said = [
            event
            async for response in AgentServiceStub(channel).StreamRun(request)
            for event in response.events
        ]
    codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK, grpc.StatusCode.INTERNAL)
    for border in range(len(said)):
        legs = [Leg(said[:border], codes[border % len(codes)]), Leg(said[border:])]
        with serving(ScriptedCore(legs)) as scripted:
            async with Client(f"grpc://{scripted.address}") as client:
                assert_whole(await read(await client.start("hi")), "".join(RICH_TEXT))
            assert len(set(scripted.started)) == 1
            assert scripted.followed == ([(1, border)] if border else [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_that_breaks_again_and_again_costs_nothing(way: str) -> None:
    """Many clients at once, cut anywhere while the agent speaks."""
    lot = random.Random(3)  # noqa: S311 - lots, no secret

    begun = asyncio.Barrier(CLIENTS + 1)

    async def one(url: str) -> None:
        async with Client(url, patience_s=60) as client:
            run = await client.start(**PACE)
            # A server that was never reached is not waited for.
            await begun.wait()
            assert_whole(await read(run), pace_text(60, 5))

    async with running_stack(merge=way == "sse") as stack:
        with proxy_to(url_of(stack, way).partition("://")[2]) as proxy:
            asking = [asyncio.create_task(one(behind(proxy, way))) for _ in range(CLIENTS)]
            await begun.wait()
            for _ in range(6):
                await asyncio.sleep(lot.uniform(0.02, 0.15))
                proxy.cut()
            await asyncio.gather(*asking)
            assert proxy.cuts == 6


@pytest.mark.parametrize("way", WAYS)
async def test_a_start_whose_answer_was_lost_starts_no_second_run(way: str) -> None:
    """It is sent again under the same id, and answered with the run that the first one started."""
    async with running_stack() as stack:
        with proxy_to(url_of(stack, way).partition("://")[2]) as proxy:
            proxy.swallow(b"echo")  # the agent's name, in the first event
            told: list[ClientError] = []
            # Without a session of its own, which an edge asks for: a repeated start must name the same one.
            async with Client(behind(proxy, way), on_retry=lambda error, _: told.append(error)) as client:
                run = await client.start("a b c", agent="echo")
                assert await run.text() == "a b c "
                assert (await client.get(run.id)).first == f"{run.id}.1.1"
        assert (proxy.cuts, len(told)) == (1, 1)


async def test_an_edge_that_restarts_is_not_noticed() -> None:
    """It says that it goes down, and is asked again at the same address."""
    async with running_core() as core:
        target = f"127.0.0.1:{core.port}"
        async with AsyncExitStack() as stack:
            _, drain, first = await stack.enter_async_context(running_edge(target))
            _, _, second = await stack.enter_async_context(running_edge(target))
            proxy = stack.enter_context(proxy_to(first))
            client = await stack.enter_async_context(Client(proxy.url, patience_s=60))
            run = await client.start(json.dumps({"tokens": 200, "rate": 200}), agent="pace")
            seen: list[Item] = []
            async for item in run.items(controls=True):
                seen.append(item)
                if len(seen) == 5:
                    proxy.send_to(second)
                    drain.start()
        assert events.Reconnect in {type(item.event) for item in seen}
        assert_whole([item for item in seen if item.id], pace_text(200, 5))


async def test_a_core_that_goes_down_is_followed_at_the_next() -> None:
    """Its stream ends with OK after `draining`; the other core gives the rest, without a pause."""
    said = [pace_event(sequence) for sequence in range(1, 6)]
    draining = Control(draining=Draining(retry_ms=60_000))
    with (
        serving(ScriptedCore([Leg([*said[:2], draining])])) as one,
        serving(ScriptedCore([Leg(said[2:])])) as other,
    ):
        async with Client(f"grpc://{one.address},{other.address}") as client:
            run = await client.start("hi")
            seen = [item async for item in run.items(controls=True)]
        assert [type(item.event) for item in seen].count(events.Reconnect) == 1
        assert sequences_of([item for item in seen if item.id]) == [1, 2, 3, 4, 5]
        assert other.followed == [(1, 2)]


def pace_event(sequence: int) -> Event:
    """Return an event of a run of five."""
    match sequence:
        case 1:
            return Event(sequence=1, epoch=1, run_started=RunStarted(run_id=RUN_ID, agent="a"))
        case 5:
            return Event(sequence=5, epoch=1, done=Done())
        case _:
            return Event(sequence=sequence, epoch=1, text_delta=TextDelta(content="x"))


@pytest.mark.parametrize("way", WAYS)
async def test_of_a_core_that_stops_the_end_is_yielded_once(way: str) -> None:
    """The core gives up the run after its drain time, and says so in the run's terminal event."""
    async with running_stack() as stack, Client(url_of(stack, way), patience_s=0.5) as client:
        run = await client.start("hi", agent="slow")
        await anext(run)
        stopping = asyncio.create_task(stack.core.stop())
        items = await read(run)
        await stopping
        assert [item.is_terminal for item in items].count(True) == 1
        assert isinstance(run.terminal, events.Error)
        assert run.terminal.details["reason"] == "CORE_SHUTDOWN"
