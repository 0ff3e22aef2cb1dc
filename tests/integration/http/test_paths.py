"""Any path and any method, without credentials: a right refusal, and never a failure of the server."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from edge.routes import page
from tests.support.raw_http import ask, raw_connection
from tests.support.stack import running_edge

NO_CORE = "127.0.0.1:1"
STEMS: Final = (
    "/",
    "/assets",
    "/assets/",
    "/assets/app.js",
    "/api/chat",
    "/api/runs/",
    "/api/runs/" + "a" * 30,
    "/api/sessions/s/runs",
    "/api/sessions/s/transcript",
    "/health/live",
    "/health/",
    "/schema",
    "/schema/openapi.yaml",
    "/elsewhere",
)
PARTS: Final = (
    "%00",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..",
    ".",
    "...",
    "%2F",
    "%5c",
    "\\",
    "//",
    "/./",
    "/../",
    "%ff",
    "%c0%af",
    "%ed%a0%80",
    "%",
    "%zz",
    "%25",
    "%0d%0a",
    "%20",
    "~",
    ":",
    "@",
    ";",
    "?",
    "?after=%00",
    "?ticket=%ff",
    "?pageSize=x",
    "?" + "a=1&" * 500,
    "{run_id}",
    "*",
    "con",
    "a" * 300,
    "a" * 5000,
    "a/" * 1000,
    "%00" * 500,
)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page, with a folder among its files, a link out of it, and a secret beside it."""
    root = tmp_path_factory.mktemp("install")
    (root / "secret.txt").write_text("secret")
    assets = root / "static" / "assets"
    (assets / "folder").mkdir(parents=True)
    (assets / "folder" / "inside.js").write_text("inside")
    (assets / "app.js").write_text("app")
    (root / "static" / "index.html").write_text("<p>page")
    return root / "static"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def url(static: Path) -> AsyncIterator[str]:
    """An edge with that page and no core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "STATIC", static)
        async with running_edge(NO_CORE) as (_, _, at):
            yield at


@pytest.mark.asyncio(loop_scope="module")
async def test_no_path_makes_the_server_fail(
    url: str, static: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hundreds of them: never 500, nothing of the installation is told or logged, no secret is served."""
    dice = random.Random(4)  # noqa: S311 # the same paths each time
    paths = [stem + part for stem in STEMS for part in PARTS]
    paths += [stem + "".join(dice.choices(PARTS, k=3)) for stem in STEMS for _ in range(20)]
    seen = set()
    with caplog.at_level(logging.DEBUG):
        for path in paths:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            answer = await ask(url, request)
            seen.add(answer.status)
            # 503: a run's state is asked of a core, and there is none.
            assert answer.status in {200, 400, 401, 404, 405, 503}, (path[:80], answer)
            assert str(static.parent).encode() not in answer.body
            assert answer.body != b"secret"
    assert {200, 404} <= seen
    assert "Traceback" not in caplog.text
    assert str(static.parent) not in caplog.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "name",
    [
        *("%00", "app.js%00", "a" * 300, "a" * 5000, "..%2f..%2fsecret.txt", "../../secret.txt", "folder"),
        *("folder/", "folder/inside.js", ".", "..", "", "%ff", ".hidden", "no.js", "/app.js/", "app.js%2f"),
    ],
)
async def test_what_is_no_asset_is_not_found(url: str, name: str) -> None:
    """Also what the file system has an error of its own for. Slashes around a name are no other name."""
    for method in ("GET", "HEAD"):
        async with raw_connection(url) as connection:
            request = f"{method} /assets/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            await connection.send(request.encode())
            head = await connection.until(b"\r\n\r\n")
            expected = b"200" if name in {"/app.js/", "app.js%2f"} else b"404"
            assert head.split()[1] == expected, (method, head)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", {"GET", "HEAD", "OPTIONS"}),
        ("/api/chat", {"POST", "OPTIONS"}),
        (f"/api/runs/{'a' * 30}", {"GET", "HEAD", "OPTIONS"}),
        (f"/api/runs/{'a' * 30}/events", {"GET", "HEAD", "OPTIONS"}),
        (f"/api/runs/{'a' * 30}/cancel", {"POST", "OPTIONS"}),
        (f"/api/runs/{'a' * 30}/ticket", {"POST", "OPTIONS"}),
        ("/api/sessions/s/runs", {"GET", "HEAD", "OPTIONS"}),
        ("/api/sessions/s/transcript", {"GET", "HEAD", "OPTIONS"}),
        ("/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("/health/ready", {"GET", "HEAD", "OPTIONS"}),
        ("/schema", {"GET", "HEAD", "OPTIONS"}),
        ("/assets/app.js", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(url: str, path: str, allowed: set[str]) -> None:
    """405 with `Allow`, and the same list for OPTIONS."""
    async with raw_connection(url) as connection:
        for method in ("PUT", "DELETE", "PATCH", "POST", "GET"):
            if method in allowed:
                continue
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            await connection.send(request.encode())
            answer = await connection.answer()
            assert (answer.status, answer.problem["code"]) == (405, "UNIMPLEMENTED")
            assert set(answer.headers["allow"].split(", ")) == allowed
    async with raw_connection(url) as connection:
        await connection.send(f"OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await connection.until(b"\r\n\r\n")).decode().lower()
        assert head.split()[1] == "204"
        told = head.partition("allow: ")[2].partition("\r\n")[0]
        assert set(told.upper().split(", ")) == allowed
