"""Clients that would like to speak another protocol get HTTP/1.1, and lose nothing by having asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from tests.support.raw_http import HEALTH, raw_connection
from tests.support.stack import Stack, new_session, running_stack

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
WEBSOCKET = (
    "connection: keep-alive, upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[Stack]:
    """A core and an edge."""
    async with running_stack() as running:
        yield running


def question(framing: str, lines: Sequence[str]) -> list[bytes]:
    """Return a question as the pieces that its client sends: head, and body at once or in chunks."""
    body = json.dumps({"message": "hi", "sessionId": new_session(), "agent": "echo"}).encode()
    head = ["POST /api/chat HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    if framing == "length":
        head.append(f"Content-Length: {len(body)}")
        pieces = [body[:10], body[10:]]
    else:
        head.append("Transfer-Encoding: chunked")
        chunks = [body[:10], body[10:], b""]
        pieces = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return ["".join(f"{line}\r\n" for line in head).encode() + b"\r\n", *pieces]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("lines", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
async def test_the_question_of_one_that_asks_for_an_upgrade_is_answered(
    stack: Stack, lines: Sequence[str], framing: str, at_once: bool
) -> None:
    """As a stream of HTTP/1.1, however the body comes; and the connection goes on."""
    pieces = question(framing, lines)
    async with raw_connection(stack.url) as connection:
        for piece in [b"".join(pieces)] if at_once else pieces:
            await connection.send(piece)
        whole = await connection.until(b"\r\n0\r\n\r\n")
        assert whole.startswith(b"HTTP/1.1 200 ")
        assert b"upgrade" not in whole.lower()
        assert b'"finalMessage":"hi "' in whole
        await connection.send(HEALTH)
        assert (await connection.answer()).status == 200


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("lines", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize(
    ("path", "status"), [("/health/live", 200), ("/api/nowhere", 404), ("/api/chat", 405)]
)
async def test_a_get_that_asks_for_an_upgrade_gets_its_plain_answer(
    stack: Stack, path: str, status: int, lines: Sequence[str]
) -> None:
    """Also where there is nothing of the kind: there are no WebSockets here."""
    head = "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: localhost", *lines))
    async with raw_connection(stack.url) as connection:
        await connection.send(head.encode() + b"\r\n" + HEALTH)
        assert (await connection.answer()).status == status
        assert (await connection.answer()).status == 200


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("version", [b"2.0", b"0.9"])
async def test_a_request_line_of_another_version_is_refused(stack: Stack, version: bytes) -> None:
    """Such a client can't read chunks, and need not say for which host it asks; the connection closes."""
    async with raw_connection(stack.url) as connection:
        await connection.send(HEALTH.replace(b"HTTP/1.1", b"HTTP/" + version))
        whole = await connection.closed()
    assert whole.startswith(b"HTTP/1.1 400 ")
    assert b"not HTTP/" + version in whole
