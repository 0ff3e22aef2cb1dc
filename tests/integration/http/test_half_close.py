"""Clients that end their own side of the connection: some still read, some have gone, all send the same."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.support.raw_http import HEALTH, RawConnection, post, raw_connection
from tests.support.stack import Stack, new_session, running_stack

PACED = json.dumps({"tokens": 20, "rate": 40})


def chat(agent: str, message: str = "hi", **more: Any) -> bytes:
    """Return a question as raw HTTP."""
    body = {"message": message, "sessionId": new_session(), "agent": agent, **more}
    return post("/api/chat", json.dumps(body).encode(), "Content-Type: application/json")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[Stack]:
    """A core and an edge whose heartbeats are too far apart to show anything."""
    async with running_stack(heartbeat_s=600) as running:
        yield running


def text_in(stream: bytes) -> bytes:
    """Return the text of a stream's deltas, however many of them a busy machine has put together."""
    return b"".join(re.findall(rb'"content":"([^"]*)"', stream))


def final_message_in(stream: bytes) -> bytes:
    """Return what a stream's end says that its text was."""
    (said,) = re.findall(rb'"finalMessage":"([^"]+)"', stream)
    return said


async def run_id_of(connection: RawConnection) -> str:
    """Return the id of the run whose stream begins, once it has begun."""
    started = await connection.until(b"run_started")
    return started.partition(b"run-id: ")[2].split(b"\r\n")[0].decode()


@pytest.mark.asyncio(loop_scope="module")
class TestOfOneStack:
    """None of them disturbs another one."""

    @pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
    async def test_a_client_that_only_ends_its_side_gets_its_whole_stream(
        self, stack: Stack, version: bytes
    ) -> None:
        """All of its 20 tokens, which take half a second, and its end; then the connection closes."""
        async with raw_connection(stack.url) as connection:
            await connection.send(chat("pace", PACED).replace(b"HTTP/1.1", version))
            connection.writer.write_eof()
            whole = await connection.closed()
        assert text_in(whole) == final_message_in(whole)
        assert b"connection: close" in whole.lower()
        assert whole.endswith(b"0\r\n\r\n" if version == b"HTTP/1.1" else b"\n\n")

    async def test_one_that_ends_its_side_in_the_middle_gets_the_rest(self, stack: Stack) -> None:
        """Whether it follows or has asked; what asks it whether it is there is a comment."""
        run_id = await stack.start(PACED, "pace")
        async with raw_connection(stack.url) as connection:
            head = f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await connection.send(head.encode())
            await connection.until(b"text_delta")
            connection.writer.write_eof()
            rest = await connection.closed()
        assert text_in(rest) == final_message_in(rest)

    @pytest.mark.parametrize(("agent", "message"), [("silent", "hi"), ("pace", '{"tokens":999,"rate":50}')])
    async def test_one_that_closes_has_left_at_once(self, stack: Stack, agent: str, message: str) -> None:
        """With tokens flowing, and without a token or a heartbeat to come: `onDisconnect: cancel` holds."""
        async with raw_connection(stack.url) as connection:
            await connection.send(chat(agent, message, onDisconnect="cancel"))
            run_id = await run_id_of(connection)
            await asyncio.sleep(0.1)
            connection.writer.close()
            async with asyncio.timeout(10):
                ended = await stack.ended(run_id)
        assert ended["terminal"] == {"event": "done", "reason": "cancelled"}

    async def test_one_that_closes_before_the_answer_begins_has_left(self, stack: Stack) -> None:
        """Also where the FIN comes with the request itself."""
        request = chat("silent", onDisconnect="cancel")
        session = json.loads(request.partition(b"\r\n\r\n")[2])["sessionId"]
        async with raw_connection(stack.url) as connection:
            await connection.send(request)
            connection.writer.close()
        async with asyncio.timeout(10):
            while True:
                runs = (await stack.client.get(f"/api/sessions/{session}/runs")).json()["runs"]
                if runs and runs[0]["state"] == "ended":
                    break
                await asyncio.sleep(0.01)
        assert runs[0]["terminal"]["reason"] == "cancelled"

    async def test_whole_requests_that_came_before_are_all_answered(self, stack: Stack) -> None:
        """Three pipelined ones and the FIN behind them, then the end of the connection."""
        async with raw_connection(stack.url) as connection:
            await connection.send(chat("scripted") + HEALTH + HEALTH)
            connection.writer.write_eof()
            whole = await connection.closed()
        assert whole.count(b"HTTP/1.1 200") == 3

    @pytest.mark.parametrize("sent", [b"", HEALTH[:20], chat("scripted")[:-5], HEALTH + HEALTH[:20]])
    async def test_half_a_request_is_not_waited_for(self, stack: Stack, sent: bytes) -> None:
        """Its rest can't come any more: the connection closes, after what was whole is answered."""
        async with raw_connection(stack.url) as connection:
            await connection.send(sent)
            connection.writer.write_eof()
            whole = await connection.closed()
        assert whole.count(b"HTTP/1.1 200") == sent.startswith(HEALTH)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@asynccontextmanager
async def relay(to: str) -> AsyncIterator[str]:
    """Run a relay that hands a FIN on as it is, as those of `docker run -p` and `ssh -L` do; yield its URL.

    It closes both of its connections when it can't pass something on.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = urlsplit(to)
        back, forth = await asyncio.open_connection(at.hostname, at.port)
        passing = [asyncio.create_task(pass_on(reader, forth)), asyncio.create_task(pass_on(back, writer))]
        with suppress(OSError):
            await asyncio.gather(*passing)
        for connection in (writer, forth):
            connection.close()
        await asyncio.gather(*passing, return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(("agent", "message"), [("silent", "hi"), ("pace", '{"tokens":9999,"rate":50}')])
async def test_one_that_closes_behind_a_relay_that_half_closes_has_left(agent: str, message: str) -> None:
    """The relay takes the first probe, its own end is found by a later one: no heartbeat is waited for."""
    async with (
        running_stack(heartbeat_s=600) as stack,
        relay(stack.url) as url,
        raw_connection(url) as connection,
    ):
        await connection.send(chat(agent, message, onDisconnect="cancel"))
        run_id = await run_id_of(connection)
        connection.writer.close()
        async with asyncio.timeout(20):
            assert (await stack.ended(run_id))["terminal"]["reason"] == "cancelled"


async def test_a_probe_is_written_where_heartbeats_are_off_too() -> None:
    """A silent stream whose client has gone is found, though nothing would ever be written."""
    async with running_stack() as stack, raw_connection(stack.url) as connection:
        request = chat("silent", onDisconnect="cancel").replace(b"/api/chat", b"/api/chat?heartbeat=off")
        await connection.send(request)
        run_id = await run_id_of(connection)
        connection.writer.close()
        async with asyncio.timeout(10):
            assert (await stack.ended(run_id))["terminal"]["reason"] == "cancelled"
