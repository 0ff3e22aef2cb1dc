"""A response that is cut after any byte, and resumed, is the whole run: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import EventSource

from agent_core.agents.pace import pace_text
from tests.support.agents import RICH_TEXT
from tests.support.sse_reader import Message, SseReader, read_all
from tests.support.stack import Stack, new_session, running_edge, running_stack
from tokenwire.telemetry.metrics import Home
from tokenwire.telemetry.metrics.instruments import RESYNCS

pytestmark = pytest.mark.usefixtures("transport")

DELTAS = {"text_delta", "reasoning_delta"}
TERMINALS = {"done", "error"}

DOORS = ("GET with Last-Event-ID", "GET with ?after=", "POST with Last-Event-ID")

MERGES = [(False, False), (True, True), (False, True), (True, False)]
"""Whether the edge that is cut merges deltas, and whether the one does that is asked for the rest."""


class Cut(NamedTuple):
    """What a client has of a response that broke."""

    have: int
    """How many messages."""
    last_id: str


def cuts_of(body: bytes) -> list[Cut]:
    """Return what clients have of a response after 0, 1, 2 … bytes: each different state once."""
    reader = SseReader()
    cuts = {Cut(0, ""): None}
    for index in range(len(body)):
        reader.feed(body[index : index + 1])
        cuts[Cut(len(reader.messages), reader.last_id)] = None
    return list(cuts)


def sequences_of(messages: Sequence[Message]) -> list[int]:
    """Return the numbers of the run's events, as they came: of a merged frame, all that are in it."""
    numbers: list[int] = []
    for message in messages:
        if message.event == "message":
            number = int(message.id.rsplit(".", 1)[1])
            numbers += range(json.loads(message.data).get("from", number), number + 1)
    return numbers


def story_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the run's events without what merging may change: neighbouring deltas are one."""
    story: list[dict[str, Any]] = []
    for message in messages:
        if message.event != "message":
            continue
        event: dict[str, Any] = json.loads(message.data)
        if event["type"] not in DELTAS:
            story.append(event)
        elif story and story[-1]["type"] == event["type"]:
            story[-1]["content"] += event["content"]
        else:
            story.append({"type": event["type"], "content": event["content"]})
    return story


def text_of(messages: Sequence[Message]) -> str:
    return "".join(event["content"] for event in story_of(messages) if event["type"] == "text_delta")


def assert_whole(joined: Sequence[Message], whole: Sequence[Message]) -> None:
    """Each event once and in order, the same content, and one end."""
    count = sequences_of(whole)[-1]
    assert sequences_of(joined) == list(range(1, count + 1))
    assert story_of(joined) == story_of(whole)
    ids = [message.id for message in joined]
    assert len(set(ids)) == len(ids)
    assert [event["type"] in TERMINALS for event in story_of(joined)].count(True) == 1
    assert json.loads(joined[-1].data)["type"] in TERMINALS


class Asker:
    """Asks an edge for the rest of a run, each rest once: cuts with the same last id ask the same.

    Args:
        client: To the edge.
        run_id: The run.
    """

    def __init__(self, client: httpx.AsyncClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._rests: dict[tuple[str, str], httpx.Response] = {}

    async def rest(self, door: str, last_id: str) -> httpx.Response:
        """Return the answer to a client that has the events up to an id."""
        key = (door, last_id)
        if key not in self._rests:
            self._rests[key] = await self._ask(door, last_id)
        return self._rests[key]

    async def _ask(self, door: str, last_id: str) -> httpx.Response:
        headers = {"last-event-id": last_id} if last_id and door.endswith("Last-Event-ID") else {}
        # Without an id a POST would ask anew: a client that has none yet knows the run from `Run-Id`.
        if door.startswith("POST") and last_id:
            body = {"message": "hi", "sessionId": "s", "agent": "rich"}
            return await self._client.post("/api/chat", json=body, headers=headers)
        params = {"after": last_id} if last_id and door.endswith("?after=") else {}
        return await self._client.get(f"/api/runs/{self._run_id}/events", headers=headers, params=params)


@asynccontextmanager
async def two_edges(
    merge: tuple[bool, bool], **core_settings: Any
) -> AsyncIterator[tuple[Stack, httpx.AsyncClient]]:
    """Run a core with two edges; return a client of the second one too."""
    first, second = merge
    async with (
        running_stack(core_settings, merge=first) as stack,
        running_edge(f"127.0.0.1:{stack.core.port}", merge=second) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield stack, client


@pytest.mark.parametrize("merge", MERGES)
async def test_a_recorded_run_is_whole_after_a_cut_at_every_byte(merge: tuple[bool, bool]) -> None:
    """What came before the cut and what three doors give after it join to the run, byte by byte of it."""
    async with two_edges(merge) as (stack, other):
        run_id = await stack.start(agent="rich", onDisconnect="continue")
        await stack.ended(run_id)
        body = (await stack.client.get(f"/api/runs/{run_id}/events")).content
        whole = read_all(body)
        assert text_of(whole) == "".join(RICH_TEXT)
        assert 1_000 < len(body) < 6_000
        asker = Asker(other, run_id)
        for before in cuts_of(body):
            for door in DOORS:
                answer = await asker.rest(door, before.last_id)
                if before.last_id == whole[-1].id:
                    assert_says_that_it_was_all(answer, door, whole[-1])
                else:
                    assert answer.status_code == 200
                    assert_whole([*whole[: before.have], *read_all(answer.content)], whole)


def assert_says_that_it_was_all(answer: httpx.Response, door: str, end: Message) -> None:
    """A GET is told that there is nothing more; a POST, which has no such status, is told the end again."""
    if door.startswith("POST"):
        assert answer.status_code == 200
        assert read_all(answer.content) == [end]
    else:
        assert (answer.status_code, answer.content) == (204, b"")


async def test_a_foreign_parser_reads_the_same_of_the_whole() -> None:
    """The reader that judges these tests agrees with httpx-sse, on every kind of event."""
    async with running_stack(merge=False) as stack:
        run_id = await stack.start(agent="rich", onDisconnect="continue")
        await stack.ended(run_id)
        answer = await stack.client.get(f"/api/runs/{run_id}/events")
        foreign = [Message(each.id, each.event, each.data) for each in EventSource(answer).iter_sse()]
        assert foreign == read_all(answer.content)
        kinds = {json.loads(message.data)["type"] for message in foreign}
        assert kinds == {
            "run_started", "progress", "reasoning_delta", "tool_start", "tool_result", "custom", "text_delta",
            "done",
        }  # fmt: skip


@pytest.mark.parametrize("merge", MERGES[:2])
async def test_a_run_that_goes_on_is_whole_after_a_cut(merge: tuple[bool, bool]) -> None:
    """The client breaks off while the agent speaks, and takes the run up again before it has ended."""
    message = json.dumps({"tokens": 40, "rate": 200})
    lot = random.Random(1)  # noqa: S311 - lots, no secret

    async def one(stack: Stack, other: httpx.AsyncClient, size: int) -> None:
        async with stack.chat(message, agent="pace") as response:
            run_id = response.headers["run-id"]
            seen = b""
            async for piece in response.aiter_raw():
                seen += piece
                if len(seen) >= size:
                    break
        reader = SseReader()
        reader.feed(seen[:size])
        door = lot.choice(DOORS)
        answer = await Asker(other, run_id).rest(door, reader.last_id)
        whole = read_all((await other.get(f"/api/runs/{run_id}/events")).content)
        assert text_of(whole) == pace_text(40, 5)
        if reader.last_id == whole[-1].id:
            assert_says_that_it_was_all(answer, door, whole[-1])
            return
        rest = [each for each in read_all(answer.content) if each.event == "message"]
        assert_whole([*reader.messages, *rest], whole)

    async with two_edges(merge) as (stack, other), asyncio.TaskGroup() as clients:
        for size in lot.sample(range(1, 4_000), 60):
            clients.create_task(one(stack, other, size))


@pytest.mark.parametrize("merge_rest", [False, True])
async def test_what_a_slow_client_was_sent_merged_is_whole_after_a_cut(merge_rest: bool) -> None:
    """Frames that backlog merged, and frames that it did not, in one response: each is a place to resume."""
    tokens, size = 1_000, 400
    async with two_edges((True, merge_rest)) as (stack, other):
        body = await read_slowly(stack, json.dumps({"tokens": tokens, "rate": 0, "size": size}))
        whole = read_all(body)
        assert text_of(whole) == pace_text(tokens, size)
        merged = ["from" in json.loads(message.data) for message in whole]
        assert True in merged
        asker = Asker(other, whole[0].id.split(".")[0])
        lot = random.Random(2)  # noqa: S311 - lots, no secret
        reader, fed = SseReader(), 0
        for cut in sorted(lot.sample(range(len(body)), 30)):
            reader.feed(body[fed:cut])
            fed = cut
            rest = await asker.rest(lot.choice(DOORS), reader.last_id)
            assert_whole([*reader.messages, *read_all(rest.content)], whole)


async def read_slowly(stack: Stack, message: str) -> bytes:
    """Return the body of a chat whose client leaves it lying, again and again, until the edge must wait."""
    loop = asyncio.get_running_loop()
    url = httpx.URL(stack.url)
    body = json.dumps({"message": message, "sessionId": new_session(), "agent": "pace"})
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, (url.host, url.port))
        head = (
            "POST /api/chat HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        await loop.sock_sendall(connection, (head + body).encode())
        seen = b""
        while piece := await loop.sock_recv(connection, 16_384):
            seen += piece
            await asyncio.sleep(0.001)
    # HTTP/1.0: the body is not chunked, and ends with the connection.
    return seen.partition(b"\r\n\r\n")[2]


async def test_a_trimmed_log_says_what_is_missing(metrics: Home) -> None:
    """Whoever lacks what the log has dropped is told so, once and first; each is counted."""
    del metrics
    told = 0
    message = json.dumps({"tokens": 200, "rate": 400})
    async with running_stack({"log_run_events": 64}, merge=False) as stack:
        async with stack.chat(message, agent="pace") as response:
            body = await response.aread()
        whole = read_all(body)
        assert sequences_of(whole) == list(range(1, len(whole) + 1)), "the live stream missed nothing"
        run_id = whole[0].id.split(".")[0]
        first_id = (await stack.client.get(f"/api/runs/{run_id}")).json()["first"]
        first = int(first_id.rsplit(".", 1)[1])
        assert 64 < first < len(whole)
        asker = Asker(stack.client, run_id)
        for have, last_id in cuts_of(body)[:-1]:
            rest = read_all((await asker.rest(DOORS[have % 3], last_id)).content)
            if have >= first - 1:
                assert_whole([*whole[:have], *rest], whole)
                continue
            told += 1
            resync = json.loads(rest[0].data)
            assert (rest[0].event, resync["reason"]) == ("resync", "trimmed")
            assert (resync["first"], resync["last"]) == (first_id, whole[-1].id)
            assert rest[0].id == "", "a control moves no cursor"
            assert rest[1:] == whole[first - 1 :]
    assert RESYNCS.points()[()].value == told > 0
