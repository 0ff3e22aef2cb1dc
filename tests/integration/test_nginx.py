"""The shipped configuration of nginx, run by a real one: what it passes on, and to which edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support import nginx
from tests.support.processes import Processes, free_port

pytestmark = pytest.mark.needs("nginx")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAME = b'data: {"type":"text_delta"}\n\n'
END = b"0\r\n\r\n"


class Edge:
    """Stands for an edge: takes a request in, and answers in two frames, or hangs up.

    Args:
        hangs_up: Whether it closes each connection once it has read the request.
    """

    def __init__(self, *, hangs_up: bool = False) -> None:
        self.heads: list[str] = []
        """The heads of all requests that it has read."""
        self.body = b""
        """The last request's."""
        self.go_on = asyncio.Event()
        """Set when the second frame may be sent."""
        self._hangs_up = hangs_up

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Be there, for a while."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=2**17)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
        self.body = await reader.readexactly(int(length or 0))
        if not self._hangs_up:
            writer.write(HEAD + _chunk(FRAME))
            await self.go_on.wait()
            writer.write(_chunk(FRAME) + END)
        writer.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def client_of(port: int) -> httpx.AsyncClient:
    """Return a client of nginx."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)


@asynccontextmanager
async def behind_nginx(
    processes: Processes, folder: Path, edges: Sequence[Edge | None]
) -> AsyncIterator[httpx.AsyncClient]:
    """Run nginx before these edges; None is one that is down."""
    ports = [free_port() for _ in edges]
    async with AsyncExitStack() as servers, client_of(nginx.start(processes, folder, ports)) as client:
        for edge, port in zip(edges, ports, strict=True):
            if edge is not None:
                await servers.enter_async_context(edge.listening(port))
        yield client


async def test_a_frame_leaves_when_it_comes(processes: Processes, tmp_path: Path) -> None:
    """The second frame is sent only once the first one is here, by a client that takes gzip."""
    edge = Edge()
    async with (
        behind_nginx(processes, tmp_path, (edge, None)) as client,
        client.stream("GET", "/api/runs/x/events") as response,
    ):
        frames = response.aiter_raw()
        assert await anext(frames) == FRAME
        edge.go_on.set()
        assert await anext(frames) == FRAME
    assert response.headers.get("content-encoding") is None


async def test_the_edge_sees_who_asked_for_what(processes: Processes, tmp_path: Path) -> None:
    """Host with its port, where the request came from, 60 kB of headers, and a body at the edge's limit."""
    edge = Edge()
    edge.go_on.set()
    headers = {f"x-large-{number}": "x" * 15_000 for number in range(4)}
    async with behind_nginx(processes, tmp_path, (edge, None)) as client:
        answer = await client.post("/api/chat", content=b"x" * 256 * 1024, headers=headers)
        url = client.base_url
    assert answer.status_code == 200
    lines = edge.heads[0].split("\r\n")
    assert {f"Host: {url.host}:{url.port}", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"} < set(
        lines
    )
    assert all(f"{name}: {value}" in lines for name, value in headers.items())
    assert len(edge.body) == 256 * 1024


async def test_what_an_edge_refuses_to_connect_goes_to_the_other(
    processes: Processes, tmp_path: Path
) -> None:
    """A POST too, each once, however often the edge that is down was asked before."""
    edge = Edge()
    edge.go_on.set()
    async with behind_nginx(processes, tmp_path, (None, edge)) as client:
        answers = [(await client.post("/api/chat", content=b"{}")).status_code for _ in range(10)]
    assert answers == [200] * 10
    assert len(edge.heads) == 10


async def test_an_edge_that_is_back_is_asked_at_once(processes: Processes, tmp_path: Path) -> None:
    """A refusal is forgotten by the time that the other one is restarted."""
    first, second = Edge(), Edge()
    first.go_on.set()
    second.go_on.set()
    ports = (free_port(), free_port())
    async with client_of(nginx.start(processes, tmp_path, ports)) as client:
        async with second.listening(ports[1]):
            before = [(await client.get("/api/runs/x/events")).status_code for _ in range(4)]
        async with first.listening(ports[0]):
            after = [(await client.get("/api/runs/x/events")).status_code for _ in range(4)]
    assert before == after == [200] * 4
    assert (len(first.heads), len(second.heads)) == (4, 4)


@pytest.mark.parametrize(("method", "seen"), [("POST", 1), ("GET", 2)])
async def test_only_a_get_is_repeated_once_it_was_read(
    processes: Processes, tmp_path: Path, method: str, seen: int
) -> None:
    """A POST that an edge has read may have started a run: nginx does not ask the other edge."""
    edges = (Edge(hangs_up=True), Edge(hangs_up=True))
    async with behind_nginx(processes, tmp_path, edges) as client:
        answer = await client.request(method, "/api/chat", content=b"{}" if method == "POST" else None)
    assert answer.status_code == 502
    assert sum(len(edge.heads) for edge in edges) == seen


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics?a=b"])
async def test_the_edges_numbers_are_not_for_the_world(
    processes: Processes, tmp_path: Path, path: str
) -> None:
    """However the path is written: no edge is asked."""
    edge = Edge()
    edge.go_on.set()
    async with behind_nginx(processes, tmp_path, (edge, edge)) as client:
        answer = await client.request(
            "GET", httpx.URL(str(client.base_url).rstrip("/"), raw_path=path.encode())
        )
    assert answer.status_code == 404
    assert not edge.heads
