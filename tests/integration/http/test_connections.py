"""What a client may send, and how long it may take, before the edge knows who it is: on raw sockets."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge.http.idle import IdleConnections
from tests.support.raw_http import HEALTH, RawConnection, ask, post, raw_connection
from tests.support.stack import new_session, running_edge, running_stack

KIB = 1024
NO_CORE = "127.0.0.1:1"
"""For what is decided before a core is asked."""
SHORT: dict[str, Any] = {"request_timeout_s": 0.4, "keep_alive_s": 0.4}


def chat(agent: str, *lines: str, message: str = "hi", more: str = "") -> bytes:
    body = f'{{"message":"{message}","sessionId":"{new_session()}","agent":"{agent}"{more}}}'
    return post("/api/chat", body.encode(), "Content-Type: application/json", *lines)


def idle_of(edge: Any) -> IdleConnections:
    idle: IdleConnections = edge.config.http_protocol_class.keywords["limits"].idle
    return idle


def resident_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4 / KIB


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def url() -> AsyncIterator[str]:
    """An edge with the usual limits and no core."""
    async with running_edge(NO_CORE) as (_, _, at):
        yield at


@pytest.mark.asyncio(loop_scope="module")
class TestSizes:
    """Of one edge, that has no core: nothing here needs one."""

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 60 * KIB + b"\r\n\r\n", 200),
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 64 * KIB + b"\r\n\r\n", 431),
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X" * 70 * KIB + b": a\r\n\r\n", 431),
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X: aa\r\n" * 98 + b"\r\n", 200),
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X: aa\r\n" * 101 + b"\r\n", 431),
            (b"GET /health/live?" + b"a" * 60 * KIB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
            (b"GET /health/live?" + b"a" * 70 * KIB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
            (b"\r\n" * 40 * KIB + HEALTH, 431),
        ],
        ids=["value", "long value", "long name", "99 lines", "102 lines", "url", "long url", "line breaks"],
    )
    async def test_a_head_beyond_the_limit_is_refused(self, url: str, head: bytes, status: int) -> None:
        """With a problem document that names the limit, and an end of the connection."""
        async with raw_connection(url) as connection:
            await connection.send(head)
            answer = await connection.answer()
            assert answer.status == status
            if status != 200:
                assert answer.problem["code"] == "RESOURCE_EXHAUSTED"
                assert answer.headers["connection"] == "close"
                assert await connection.closed() == b""

    async def test_headers_without_end_cost_no_memory(self, url: str) -> None:
        """20 connections send 10 MB of them each, and never end: the edge keeps 64 KiB of none of them."""

        async def flood(data: bytes, opened: AsyncExitStack) -> None:
            connection = await opened.enter_async_context(raw_connection(url))
            await connection.send(data)
            for _ in range(10):
                await connection.send(b"a" * 1_000_000)

        async with AsyncExitStack() as opened:
            before = resident_mib()
            beginnings = (b"GET /", b"GET / HTTP/1.1\r\nX", b"GET / HTTP/1.1\r\nX: ", HEALTH[:-2] + b"X: ")
            await asyncio.gather(*(flood(data, opened) for data in beginnings * 5))
            assert resident_mib() - before < 60, "of 200 MB"

    @pytest.mark.parametrize(
        "rest", [b"5;" + b"a" * 70 * KIB, b"0\r\nX: " + b"a" * 70 * KIB, b"0" * 70 * KIB]
    )
    async def test_what_surrounds_a_chunk_is_bounded(self, url: str, rest: bytes) -> None:
        """Extensions, trailers and lengths without end are refused like headers."""
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        async with raw_connection(url) as connection:
            await connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + rest)
            assert (await connection.answer()).status in {400, 431}
            await connection.closed()

    async def test_a_body_in_single_bytes_is_no_large_head(self, url: str) -> None:
        """Six bytes of framing for each of them are more than 64 KiB together, and are no harm."""
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"message":"' + b" " * 20_000)
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        answer = await ask(url, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert (answer.status, answer.problem["code"]) == (400, "INVALID_ARGUMENT")

    async def test_a_trailer_is_no_header_of_this_request_or_the_next(self, url: str) -> None:
        """A proxy that checks headers does not see trailers."""
        trailer = b"0\r\nHost: elsewhere\r\nHost: there\r\n\r\n"
        head = b"POST /api/runs/x/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        async with raw_connection(url) as connection:
            await connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + trailer + HEALTH)
            assert (await connection.answer()).status == 400  # an invalid run id
            assert (await connection.answer()).status == 200

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
            (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
            (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 501),
            (bytes(range(256)), 400),
        ],
        ids=["no host", "two hosts", "1.0 without host", "bytes in the path", "connect", "garbage"],
    )
    async def test_what_is_not_http_is_refused_in_the_same_form(
        self, url: str, data: bytes, status: int
    ) -> None:
        """A problem document, and no line in the log for each of them."""
        answer = await ask(url, data)
        assert answer.status == status
        if status != 200:
            assert answer.problem["title"]

    async def test_an_upgrade_is_ignored(self, url: str) -> None:
        """Java's client asks for h2c with every first request: its body is read, the connection goes on."""
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        async with raw_connection(url) as connection:
            body = b'{"sessionId":"s"}'
            await connection.send(
                post("/api/chat", body, "Content-Type: application/json", *upgrade) + HEALTH
            )
            answer = await connection.answer()
            assert (answer.status, answer.problem["detail"]) == (
                400,
                "message: Object missing required field `message`",
            )
            assert (await connection.answer()).status == 200

    async def test_the_body_is_asked_for_only_if_it_is_wanted(self, url: str) -> None:
        """`Expect: 100-continue` gets its 100 where the body is read, and the refusal where it is not."""
        expect = ("Expect: 100-continue", "Content-Type: application/json")
        async with raw_connection(url) as connection:
            whole = post("/api/chat", b"{}", *expect)
            await connection.send(whole[:-2])
            assert await connection.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await connection.send(b"{}")
            assert (await connection.answer()).status == 400
        assert (await ask(url, post("/api/nowhere", b"{}", *expect)[:-2])).status == 404

    async def test_pipelined_requests_are_answered_in_order(self, url: str) -> None:
        """Also when hundreds come at once."""
        async with raw_connection(url) as connection:
            await connection.send(HEALTH * 500 + post("/api/nowhere") + HEALTH)
            statuses = [(await connection.answer()).status for _ in range(502)]
            assert statuses == [200] * 500 + [404, 200]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def short_of_time() -> AsyncIterator[str]:
    """An edge that waits for nothing long."""
    async with running_edge(NO_CORE, **SHORT) as (_, _, at):
        yield at


async def trickle(connection: RawConnection, data: bytes) -> None:
    """Send a byte now and then, for as long as the server reads."""
    for _ in range(200):
        await connection.send(data)
        await asyncio.sleep(0.05)


@pytest.mark.asyncio(loop_scope="module")
class TestTimes:
    """Of one edge with short times and no core."""

    @pytest.mark.parametrize(
        ("begin", "drop", "part"),
        [
            (b"GET /health/live HTTP/1.1\r\nX", b"a", "headers"),
            (HEALTH + b"GET /health/live HTTP/1.1\r\nX", b"a", "headers"),
            (post("/api/chat", b" " * 999, "Content-Type: application/json")[:-990], b" ", "body"),
        ],
        ids=["headers", "headers of a second request", "body"],
    )
    async def test_a_request_that_trickles_is_refused(
        self, short_of_time: str, begin: bytes, drop: bytes, part: str
    ) -> None:
        """However many bytes keep coming: 408, and the connection closes."""
        async with raw_connection(short_of_time) as connection:
            await connection.send(begin)
            trickling = asyncio.create_task(trickle(connection, drop))
            if begin.startswith(HEALTH):
                assert (await connection.answer()).status == 200
            answer = await connection.answer()
            assert (answer.status, answer.problem["code"]) == (408, "DEADLINE_EXCEEDED")
            assert part in answer.problem["detail"]
            await connection.closed()
            trickling.cancel()

    @pytest.mark.parametrize("begin", [b"", HEALTH, b"\r\n", HEALTH + b"\r\n"])
    async def test_a_silent_connection_is_closed_without_a_word(
        self, short_of_time: str, begin: bytes
    ) -> None:
        """Before the first request and after one; a line break is no beginning of a request."""
        async with raw_connection(short_of_time) as connection:
            await connection.send(begin)
            trickling = asyncio.create_task(
                trickle(connection, b"\r\n") if begin == b"\r\n" else asyncio.sleep(0)
            )
            if begin.startswith(HEALTH):
                assert (await connection.answer()).status == 200
            assert await connection.closed() == b""
            trickling.cancel()

    async def test_an_answer_that_comes_before_the_body_ends_the_connection(self, short_of_time: str) -> None:
        """The rest of the body is read for a moment, and not for ever."""
        whole = post("/api/nowhere", b" " * 10_000_000, "Content-Type: application/json")
        async with raw_connection(short_of_time) as connection:
            await connection.send(whole[:2000])
            assert (await connection.answer()).status == 404
            trickling = asyncio.create_task(trickle(connection, b" "))
            assert await connection.closed() == b""
            trickling.cancel()

    async def test_a_connection_goes_on_while_requests_come(self, short_of_time: str) -> None:
        """Every request has its time from its own beginning."""
        async with raw_connection(short_of_time) as connection:
            for _ in range(6):
                await connection.send(HEALTH[:20])
                await asyncio.sleep(0.1)
                await connection.send(HEALTH[20:])
                assert (await connection.answer()).status == 200
                await asyncio.sleep(0.1)


async def test_streams_are_not_timed_and_a_slow_request_is_no_stream() -> None:
    """One that runs longer than any time limit ends by itself, even if its request announced a body."""
    async with running_stack(**SHORT) as stack:
        message = '{\\"tokens\\": 30, \\"rate\\": 20}'
        async with raw_connection(stack.url) as connection:
            await connection.send(chat("pace", message=message))
            assert b'"type":"done"' in await connection.until(b"\r\n0\r\n\r\n")
        run_id = await stack.start('{"tokens": 30, "rate": 20}', "pace")
        async with raw_connection(stack.url) as connection:
            head = f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            await connection.send(head.encode())
            assert b'"type":"done"' in await connection.until(b"\r\n0\r\n\r\n")
            await connection.closed()


async def test_http_1_0_gets_no_chunks() -> None:
    """A stream of plain frames ends with its connection; a known length is told as ever."""
    async with running_stack() as stack, raw_connection(stack.url) as connection:
        await connection.send(chat("scripted").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await connection.answer()
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"
        assert answer.body.startswith(b"retry: ")
        assert answer.body.endswith(b"\n\n")
        assert b'"type":"done"' in answer.body
        known = await ask(stack.url, HEALTH.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert known.headers["content-length"] == str(len(known.body))


async def test_silent_connections_push_each_other_out_and_nobody_else() -> None:
    """Beyond the limit the oldest one goes; a stream stays, and a new client is served."""
    async with running_stack(max_idle_connections=5) as stack, AsyncExitStack() as opened:
        stream = await opened.enter_async_context(raw_connection(stack.url))
        await stream.send(chat("silent"))
        await stream.until(b"run_started")
        silent = [await opened.enter_async_context(raw_connection(stack.url)) for _ in range(5)]
        await silent[3].send(b"GET / HT")  # to send a little is not to be served
        slow = await opened.enter_async_context(raw_connection(stack.url))
        await slow.send(post("/api/chat", b" " * 99, "Content-Type: application/json")[:-50])
        later = [await opened.enter_async_context(raw_connection(stack.url)) for _ in range(4)]
        for connection in silent:
            await connection.closed()
        for _ in range(3):
            assert (await ask(stack.url, HEALTH)).status == 200
        await slow.closed()
        assert len(idle_of(stack.edge)) <= 5
        await later[-1].send(HEALTH)
        assert (await later[-1].answer()).status == 200
        assert not stream.reader.at_eof()
    assert len(idle_of(stack.edge)) == 0


@pytest.mark.parametrize("megabytes", [0, 1, 8])
@pytest.mark.parametrize("leaves", ["closes", "resets"])
async def test_who_leaves_after_pipelining_has_left(
    megabytes: int, leaves: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`onDisconnect: cancel` holds at once, however much came behind the stream, and no error is logged."""
    async with running_stack() as stack, raw_connection(stack.url) as connection:
        await connection.send(chat("silent", more=',"onDisconnect":"cancel"'))
        started = await connection.until(b"run_started")
        run_id = started.partition(b"run-id: ")[2].split(b"\r\n")[0].decode()
        for _ in range(megabytes):
            await connection.send(HEALTH * 21_000)
        await connection.send(HEALTH)
        if leaves == "resets":
            connection.reset()
        else:
            connection.writer.close()
        async with asyncio.timeout(10):
            ended = await stack.ended(run_id)
        assert ended["terminal"]["reason"] == "cancelled"
    assert "Error" not in caplog.text


async def test_what_waits_behind_a_stream_is_answered_if_it_is_one_request() -> None:
    """More than fits is thrown away, unparsed, and the connection closes after the stream."""
    async with running_stack() as stack:
        for behind, answers in ((HEALTH, 1), (HEALTH * 10_000, 0)):
            async with raw_connection(stack.url) as connection:
                await connection.send(chat("pace", message='{\\"tokens\\": 5, \\"rate\\": 20}'))
                await connection.until(b"run_started")
                await connection.send(behind)
                await connection.until(b"\r\n0\r\n\r\n")
                if answers:
                    assert (await connection.answer()).status == 200
                else:
                    assert await connection.closed() == b""


async def test_garbage_behind_a_stream_does_not_end_up_in_it() -> None:
    """The stream goes on to its end; then the connection closes."""
    async with running_stack() as stack, raw_connection(stack.url) as connection:
        await connection.send(chat("pace", message='{\\"tokens\\": 5, \\"rate\\": 20}') + bytes(range(256)))
        stream = await connection.until(b"\r\n0\r\n\r\n")
        assert b"Bad Request" not in stream
        assert b'"type":"done"' in stream
        assert await connection.closed() == b""
