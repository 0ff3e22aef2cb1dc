"""What the client makes of a server at an edge's address that is none."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.scripted_transport import RUN_ID
from tokenwire.client import bounded, sse_transport
from tokenwire.client.errors import ConnectionLostError, RefusedError
from tokenwire.client.sse_transport import NOT_AN_EDGE, SseTransport
from tokenwire.client.transport import Credentials, Page, StartRequest

REQUEST = StartRequest("hi", "", "", "", "grace", None, "request")
EVENTS = {"content-type": "text/event-stream"}
DEEP = b"[" * 100_000


def serving(answer: httpx.Response, asked: list[httpx.Request] | None = None) -> SseTransport:
    """Return a way to a server that gives one answer."""

    def give(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return answer

    transport = SseTransport("http://edge", Credentials())
    transport._http = httpx.AsyncClient(base_url="http://edge", transport=httpx.MockTransport(give))
    return transport


def streamed(body: bytes, **headers: str) -> httpx.Response:
    """Return an answer that is not decoded before it is read."""
    return httpx.Response(200, headers={**EVENTS, **headers}, stream=httpx.ByteStream(body))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<p>Log in"),
        streamed(b"no gzip", **{"content-encoding": "gzip"}),
        streamed(b"data: " + DEEP + b"\n\n"),
        streamed(gzip.compress(b"data: {}\n\n"), **{"content-encoding": "gzip"}),
    ],
    ids=["page", "encoding", "depth", "compressed"],
)
async def test_a_stream_that_no_edge_sends_is_final(answer: httpx.Response) -> None:
    """It is not taken for a lost connection, which would be tried again."""
    with pytest.raises(RefusedError) as caught:
        await anext(serving(answer).start(REQUEST))
    assert (caught.value.reason, caught.value.retryable) == (NOT_AN_EDGE, False)


@pytest.mark.parametrize(
    "answer",
    [
        streamed(b"no gzip", **{"content-encoding": "gzip"}),
        streamed(b"no zstd", **{"content-encoding": "zstd"}),
        streamed(gzip.compress(gzip.compress(b"{}")), **{"content-encoding": "gzip, gzip"}),
        httpx.Response(200, content=DEEP),
    ],
    ids=["encoding", "not asked for", "encoded twice", "depth"],
)
async def test_an_answer_that_no_edge_gives_is_final(answer: httpx.Response) -> None:
    """It is refused as a `ClientError`, whatever it holds."""
    with pytest.raises(RefusedError) as caught:
        await serving(answer).get(RUN_ID)
    assert caught.value.reason == NOT_AN_EDGE


async def test_a_refusal_nested_too_deep_is_read() -> None:
    """As one without a problem document."""
    with pytest.raises(RefusedError, match="HTTP 400"):
        await serving(httpx.Response(400, content=DEEP)).get(RUN_ID)


async def test_an_id_leads_to_no_other_path() -> None:
    """A caller's text stays one segment: it stops nothing else, and drops no query."""
    asked: list[httpx.Request] = []
    transport = serving(httpx.Response(404), asked)
    with pytest.raises(RefusedError):
        await transport.cancel("../x?y#z")
    with pytest.raises(RefusedError):
        await transport.runs(Page("a/b#c", 5, ""))
    with pytest.raises(RefusedError):
        await transport.get("..")
    assert [each.url.raw_path for each in asked] == [
        b"/api/runs/..%2Fx%3Fy%23z/cancel",
        b"/api/sessions/a%2Fb%23c/runs?pageSize=5&pageToken=",
        b"/api/runs/%2E%2E",
    ]


class Endless(httpx.AsyncByteStream):
    """A body that goes on for ever.

    Args:
        chunk: What comes again and again.
        pause_s: How often, in seconds.
    """

    def __init__(self, chunk: bytes = b"x", pause_s: float = 0.01) -> None:
        self._chunk = chunk
        self._pause_s = pause_s
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunk."""
        while True:
            await asyncio.sleep(self._pause_s)
            self.sent += len(self._chunk)
            yield self._chunk


@pytest.mark.parametrize(
    "chunk", [b"data: " + b"x" * 94, b"data: " + b"x" * 93 + b"\n"], ids=["line", "lines"]
)
async def test_a_message_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, chunk: bytes) -> None:
    """It would fill the memory: of one line, and of many."""
    monkeypatch.setattr(bounded, "MAX_MESSAGE_BYTES", 5_000)
    body = Endless(chunk, 0.0)
    with pytest.raises(RefusedError, match="a message of more than") as caught:
        await anext(serving(httpx.Response(200, headers=EVENTS, stream=body)).start(REQUEST))
    assert (caught.value.reason, caught.value.retryable) == (NOT_AN_EDGE, False)
    assert body.sent < 6_000


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
async def test_messages_are_bounded_one_by_one(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """However their lines end and wherever they are cut, a long stream of short ones is read."""
    monkeypatch.setattr(bounded, "MAX_MESSAGE_BYTES", 60)
    whole = (b"id: 1%bdata: {}%b%b" % (end, end, end)) * 50

    async def parts(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    for size in range(1, 30):
        answer = httpx.Response(200, content=parts(size))
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        assert b"".join([part async for part in bounded.BoundedMessages(answer.stream)]) == whole


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_answer_that_never_ends_is_refused(
    monkeypatch: pytest.MonkeyPatch, status: int, encoding: str
) -> None:
    """By what it is once it is decoded: a few compressed bytes can be very many."""
    monkeypatch.setattr(bounded, "MAX_ANSWER_BYTES", 100_000)
    stream: httpx.AsyncByteStream = Endless(b"x" * 10_000, 0.0)
    if encoding == "gzip":
        stream = httpx.ByteStream(gzip.compress(b"x" * 1_000_000))
    answer = httpx.Response(status, headers={"content-encoding": encoding}, stream=stream)
    with pytest.raises(RefusedError, match="an answer of more than") as caught:
        await serving(answer).get(RUN_ID)
    assert (caught.value.reason, caught.value.retryable) == (NOT_AN_EDGE, False)


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a start too, if it is no stream: each read comes in time, the whole never does."""
    monkeypatch.setattr(sse_transport, "UNARY_TIMEOUT_S", 0.1)
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionLostError, match="did not answer"):
            await anext(serving(httpx.Response(500, stream=Endless())).start(REQUEST))
        with pytest.raises(ConnectionLostError, match="did not answer"):
            await serving(httpx.Response(200, stream=Endless())).get(RUN_ID)
