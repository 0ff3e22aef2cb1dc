"""The page and its assets over the wire: compressed, cached, and never fetched twice."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from edge.routes import page
from tests.support.raw_http import raw_connection
from tests.support.stack import running_edge

NO_CORE: Final = "127.0.0.1:1"
SCRIPT: Final = "let x = 1;\n" * 1_000
HTML: Final = "<!doctype html><title>page</title>" + "<p>page" * 50
ASSET: Final = "/assets/index-abc123.js"


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An edge with a built page and no core."""
    (tmp_path / "assets").mkdir()
    (tmp_path / ASSET[1:]).write_text(SCRIPT)
    (tmp_path / "index.html").write_text(HTML)
    monkeypatch.setattr(page, "STATIC", tmp_path)
    async with running_edge(NO_CORE) as (_, _, at):
        yield at


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that takes nothing compressed unless it says so."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        client.headers["accept-encoding"] = "identity"
        yield client


@pytest.mark.parametrize(
    ("path", "text", "cached"),
    [("/", HTML, "no-cache"), (ASSET, SCRIPT, "public, max-age=31536000, immutable")],
)
async def test_files_are_compressed_and_cached(
    client: httpx.AsyncClient, path: str, text: str, cached: str
) -> None:
    """As a browser asks; what it has already is not sent again, compressed or not."""
    plain = await client.get(path)
    assert "content-encoding" not in plain.headers
    compressed = await client.get(path, headers={"accept-encoding": "gzip, deflate, br, zstd"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(text) / 2
    for response in (plain, compressed):
        assert (response.status_code, response.text) == (200, text)
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["cache-control"] == cached
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["content-type"].startswith("text/")
        asked = {
            "accept-encoding": response.headers.get("content-encoding", "identity"),
            "if-none-match": f'"other", {response.headers["etag"]}',
        }
        again = await client.get(path, headers=asked)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == response.headers["etag"]
        assert again.headers["cache-control"] == cached
        assert again.headers["vary"] == "Accept-Encoding"
        changed = await client.get(path, headers=asked | {"if-none-match": '"other"'})
        assert changed.status_code == 200


@pytest.mark.parametrize("path", ["/", ASSET])
async def test_a_head_request_is_answered_as_a_get_without_body(url: str, path: str) -> None:
    """Byte by byte: the next answer on the connection begins right behind its headers."""
    async with raw_connection(url) as connection:
        for extra in ("", "Accept-Encoding: gzip\r\n"):
            heads = []
            for method in ("HEAD", "GET"):
                await connection.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
                if method == "HEAD":
                    lines = (await connection.until(b"\r\n\r\n")).decode().split("\r\n")
                    heads.append({line.partition(":")[0].lower(): line for line in lines if ":" in line})
                else:
                    answer = await connection.answer()
                    assert answer.status == 200
                    body = gzip.decompress(answer.body) if extra else answer.body
                    assert body.decode() in {HTML, SCRIPT}
                    assert heads[0].keys() >= {"etag", "vary", "cache-control", "content-length"}
                    told = {name: line.partition(": ")[2] for name, line in heads[0].items()}
                    changing = {"date", "traceparent"}
                    assert {k: v for k, v in told.items() if k not in changing} == {
                        name: value for name, value in answer.headers.items() if name not in changing
                    }


async def test_without_a_build_a_head_request_says_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the status that a GET gets."""
    monkeypatch.setattr(page, "STATIC", tmp_path)
    async with running_edge(NO_CORE) as (_, _, at), httpx.AsyncClient(base_url=at, trust_env=False) as client:
        answers = [await client.get("/"), await client.head("/")]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert [answer.text for answer in answers] == ["The page is not built. Run: make page\n", ""]


async def test_a_new_build_is_served_without_a_restart(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """The page with a new tag, and its new assets."""
    before = await client.get("/")
    (tmp_path / "index.html").write_text(HTML + "new")
    (tmp_path / "assets" / "index-def456.js").write_text("new")
    after = await client.get("/", headers={"if-none-match": before.headers["etag"]})
    assert (after.status_code, after.text) == (200, HTML + "new")
    assert (await client.get("/assets/index-def456.js")).text == "new"
