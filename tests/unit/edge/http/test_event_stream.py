"""The one object that serves a stream: on real sockets, of a run that the test tells."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from edge.errors import EdgeError, UpstreamError
from edge.http import event_stream
from edge.http.stream_policy import StreamPolicy
from edge.sse.dialects import NativeDialect
from edge.upstream import Leave
from tests.support.served_stream import REQUEST, RUN_ID, ScriptedRun, Served, read_until, serving
from tokenwire.outage import Repeats

BY_EITHER = pytest.mark.parametrize("own", [True, False], ids=["own server", "another server"])
"""What holds at our own server holds at one that knows no extension."""

SMALL = 4_096


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def stuck(served: Served) -> tuple[socket.socket, ScriptedRun]:
    """Return a client that does not read, and its run, of which something waits."""
    client, run = await served.connect()
    run.text()
    await read_until(client, b".1.1\n\n")
    (stream,) = served.streams
    while not stream.waiting:
        run.text("x" * 100_000)
        await asyncio.sleep(0)
    return client, run


@BY_EITHER
async def test_a_stream_is_told_from_its_head_to_its_end(own: bool) -> None:
    """Two phases, frames as they come, one end; and the connection serves the next request."""
    async with serving(Served(), own=own) as served:
        client, run = await served.connect()
        with client:
            run.text("a")
            seen = await read_until(client, b".1.1\n\n")
            assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
            assert f"run-id: {RUN_ID}\r\n".encode() in seen
            assert re.search(rb"retry: \d+\n: open\ndata: {", seen)
            run.text("b")
            assert b'"content":"b"' in await read_until(client, b".1.2\n\n")
            run.done()
            assert (await read_until(client, b"0\r\n\r\n")).count(b'"type":"done"') == 1
            assert run.left == [Leave.ENDED]
            assert served.limits.slots.in_use == 0
            await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: l\r\n\r\n")
            next_run = await served.runs.get()
            await next_run.started.wait()
            next_run.text("c")
            assert b'"content":"c"' in await read_until(client, b".1.1\n\n")


@BY_EITHER
async def test_a_failure_within_the_commit_time_is_a_status(own: bool) -> None:
    """Nothing was sent yet, and the slot is free again."""
    async with serving(Served(), own=own) as served:
        client, run = await served.connect()
        with client:
            run.end(UpstreamError("NOT_FOUND", "Unknown agent."))
            assert (await read_until(client, b"Unknown agent.")).startswith(b"HTTP/1.1 404 ")
            assert served.limits.slots.in_use == 0
            assert run.left == [Leave.ENDED]


@BY_EITHER
async def test_a_failure_behind_the_commit_time_is_an_event(own: bool) -> None:
    """And the stream ends behind it."""
    async with serving(Served(StreamPolicy(commit_s=0.01)), own=own) as served:
        client, run = await served.connect()
        with client:
            assert b"run-id" not in await read_until(client, b": open\n")
            run.end(UpstreamError("UNAVAILABLE"))
            seen = await read_until(client, b"0\r\n\r\n")
            assert b'"code":"UNAVAILABLE"' in seen
            assert b"\nid: " not in seen


@BY_EITHER
async def test_a_stream_that_can_not_even_begin_gives_its_slot_back(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours, in what is done before the run is asked for: the client gets a 500."""

    def fail(_: object) -> None:
        raise RuntimeError("fault")

    async with serving(Served(), own=own) as served:
        monkeypatch.setattr(event_stream, "bind_log_fields", fail)
        with await served.ask() as client:
            assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
        assert served.limits.slots.in_use == 0
        assert served.drain.listeners == 0


async def test_a_failure_behind_events_that_wait_for_the_head_is_told_behind_them() -> None:
    """Both came within the commit time: what was told is not swallowed by a status."""
    async with serving(Served()) as served:
        client, run = await served.connect()
        with client:
            run.text("a")
            run.end()
            seen = await read_until(client, b"0\r\n\r\n")
            assert seen.index(b'"content":"a"') < seen.index(b'"reason":"STREAM_ENDED_EARLY"')


@BY_EITHER
@pytest.mark.parametrize("opened", [True, False], ids=["open", "before the first event"])
async def test_a_client_that_leaves_ends_its_run_as_left(own: bool, opened: bool) -> None:
    """At once, and also before the first event."""
    async with serving(Served(StreamPolicy(commit_s=0.1)), own=own) as served:
        client, run = await served.connect()
        with client:
            if opened:
                run.text()
                await read_until(client, b".1.1\n\n")
        await until(lambda: bool(run.left))
        assert run.left == [Leave.LEFT]
        assert served.limits.slots.in_use == 0
        assert not served.drain.listeners


async def test_a_client_that_leaves_in_the_turn_in_which_it_is_written_to_ends_alone() -> None:
    """Its transport fails inside the reader's turn; the next client is written to in the same turn."""
    async with serving(Served()) as served:
        (leaver, left), (stayer, stayed) = await served.connect(), await served.connect()
        with leaver, stayer:
            for client, run in ((leaver, left), (stayer, stayed)):
                run.text()
                await read_until(client, b".1.1\n\n")
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            leaver.close()
            for _ in range(3):
                left.text("gone")
                stayed.text("here")
            await read_until(stayer, b".1.4\n\n")
            await until(lambda: left.left == [Leave.LEFT])
            assert stayed.left == []


async def test_a_dialect_that_raises_ends_its_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Not that of the reader's other streams; and its client does not take it for a whole one."""

    class Faulty(NativeDialect):
        def delta_frame(self, delta: Any) -> bytes:
            if delta[4] == "bad":
                raise ValueError(delta)
            return super().delta_frame(delta)

    async with serving(Served(dialect=Faulty)) as served:
        client, run = await served.connect()
        with client:
            run.text()
            await read_until(client, b".1.1\n\n")
            run.text("bad")
            with pytest.raises(EOFError):
                await read_until(client, b"0\r\n\r\n")
        assert run.left == [Leave.BROKEN]
    assert "ValueError" in caplog.text


@BY_EITHER
async def test_what_comes_while_a_write_is_in_flight_leaves_as_one_write(own: bool) -> None:
    """Merged, in order, with nothing lost."""
    async with serving(Served(), own=own) as served:
        client, run = await stuck(served)
        with client:
            (stream,) = served.streams
            before = stream._sends
            for _ in range(100):
                run.text("y")
            last = f".1.{run.sequence}\n\n".encode()
            seen = await read_until(client, last)
            assert stream._sends <= before + 2
            assert seen.count(b"x") + seen.count(b"y") >= 100_000
            assert b'"from":' in seen


@BY_EITHER
async def test_a_full_stream_says_when_it_has_room_again(own: bool) -> None:
    """Nothing more comes meanwhile, so nothing else would tell."""
    async with serving(Served(budget_bytes=SMALL), own=own) as served:
        client, run = await stuck(served)
        with client:
            (stream,) = served.streams
            assert stream.full
            resumed = run.resumed
            await read_until(client, f".1.{run.sequence}\n\n".encode())
            await until(lambda: run.resumed > resumed)
            assert not stream.full


async def test_a_client_that_does_not_read_is_cut_off(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the write deadline; that counts as no leaving, and as no fault."""
    monkeypatch.setattr(event_stream, "_evictions", Repeats())
    async with serving(Served(StreamPolicy(write_deadline_s=0.1))) as served:
        client, run = await stuck(served)
        with client:
            await until(lambda: bool(run.left))
            assert run.left == [Leave.EVICTED]
            assert served.limits.slots.in_use == 0
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [
        logging.WARNING
    ]
    assert "does not read" in caplog.text


class ServedBehindMuch(Served):
    """Answers `/much` with more than any socket's buffers hold."""

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a stream, but for `/much`."""
        if scope["path"] != "/much":
            await super().app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(32 << 20)})


async def test_a_client_that_does_not_even_read_the_head_is_cut_off() -> None:
    """One that reads no answer holds no stream for ever: a head waits behind the answer before it."""
    async with serving(ServedBehindMuch(StreamPolicy(write_deadline_s=0.1))) as served:
        client, run = await served.connect(REQUEST.replace(b"/stream", b"/much") + REQUEST)
        with client:
            run.text()
            await until(lambda: run.left == [Leave.EVICTED])
            assert served.limits.slots.in_use == 0


async def test_another_server_is_told_that_it_can_not_cut_a_client_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The stream ends all the same: neither its run nor its task waits for such a client."""
    async with serving(Served(StreamPolicy(write_deadline_s=0.1)), own=False) as served:
        client, run = await stuck(served)
        with client:
            await until(lambda: run.left == [Leave.EVICTED])
    assert "tokenwire.abort" in caplog.text


@BY_EITHER
async def test_silence_is_broken_and_tokens_are_not_interrupted(own: bool) -> None:
    """A heartbeat comes after silence alone."""
    async with serving(Served(StreamPolicy(heartbeat_s=0.2)), own=own) as served:
        client, run = await served.connect()
        with client:
            for _ in range(50):
                run.text()
                await asyncio.sleep(0.01)
            assert b"heartbeat" not in await read_until(client, b".1.50\n\n")
            await read_until(client, b": heartbeat\n")


@BY_EITHER
@pytest.mark.parametrize("when", ["idle", "before the head"])
async def test_a_going_edge_hands_a_stream_over(own: bool, when: str) -> None:
    """At an event border, and with a whole end."""
    async with serving(Served(), own=own) as served:
        client, run = await served.connect()
        with client:
            if when == "idle":
                run.text()
                await read_until(client, b".1.1\n\n")
            served.drain.start()
            seen = await read_until(client, b"0\r\n\r\n")
            assert re.search(rb"retry: \d+\nevent: reconnect\n", seen)
            assert run.left == [Leave.DRAINED]


async def test_a_going_edge_hands_over_whoever_does_not_read_as_soon_as_it_does() -> None:
    """What waits for it comes first; nothing more is taken from the run."""
    async with serving(Served()) as served:
        client, run = await stuck(served)
        with client:
            told = run.sequence
            served.drain.start()
            run.text("late")
            seen = await read_until(client, b"0\r\n\r\n")
            assert f".1.{told}\n\n".encode() in seen
            assert seen.index(b"event: reconnect\n") > seen.index(f".1.{told}\n\n".encode())
            assert b"late" not in seen


async def test_http_1_0_is_written_to_without_chunks() -> None:
    """The connection's end is the stream's."""
    async with serving(Served()) as served:
        client, run = await served.connect(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with client:
            run.text("a")
            seen = await read_until(client, b".1.1\n\n")
            run.text("b")
            seen += await read_until(client, b".1.2\n\n")
            run.done()
            with pytest.raises(EOFError) as caught:
                await read_until(client, b"never")
            body = (seen + caught.value.args[0]).split(b"\r\n\r\n", 1)[1]
            assert b"\r\n" not in body
            assert body.endswith(b".1.3\n\n")


async def test_a_stream_that_gets_no_slot_opens_nothing() -> None:
    """And gives nobody else's away."""
    async with serving(Served(streams=1)) as served:
        client, run = await served.connect()
        with client, socket.create_connection(("127.0.0.1", served.port)) as refused:
            refused.setblocking(False)
            run.text()
            await read_until(client, b".1.1\n\n")
            asked = b"GET / HTTP/1.1\r\nHost: l\r\nAuthorization: x\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(refused, asked)
            assert (await read_until(refused, b"}")).startswith(b"HTTP/1.1 429 ")
            assert served.runs.empty()
            assert served.limits.slots.in_use == 1


async def test_what_is_left_of_a_requests_body_is_thrown_away() -> None:
    """Nobody reads it, and a server that stopped reading would not notice that the client leaves."""
    async with serving(Served()) as served:
        head = b"GET / HTTP/1.1\r\nHost: l\r\nContent-Length: 1000000\r\n\r\n"
        client, run = await served.connect(head)
        with client:
            run.text()
            await read_until(client, b".1.1\n\n")
            await asyncio.get_running_loop().sock_sendall(client, b"x" * 500_000)
            run.text()
            await read_until(client, b".1.2\n\n")
        await until(lambda: run.left == [Leave.LEFT])


async def test_a_stream_of_our_own_server_has_no_task_but_its_request() -> None:
    """Neither a reader, a writer nor a watcher."""
    async with serving(Served()) as served:
        before = len(asyncio.all_tasks())
        clients = [await served.connect() for _ in range(5)]
        for client, run in clients:
            run.text()
            await read_until(client, b".1.1\n\n")
        assert len(asyncio.all_tasks()) == before + len(clients)
        for client, _ in clients:
            client.close()
        await until(lambda: len(asyncio.all_tasks()) == before)


async def test_a_failure_of_the_upstreams_own_is_told_like_any_other() -> None:
    """As one of the run, with what programs need."""
    async with serving(Served()) as served:
        client, run = await served.connect()
        with client:
            run.text()
            await read_until(client, b".1.1\n\n")
            run.end(EdgeError("INTERNAL"))
            assert b'"code":"INTERNAL"' in await read_until(client, b"0\r\n\r\n")
