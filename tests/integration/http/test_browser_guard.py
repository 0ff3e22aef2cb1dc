"""Pages of other sites, in the browser of somebody who runs an edge: what they may send it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from edge.app import create_app
from edge.http.browser_guard import SAFE_METHODS, BrowserGuard
from edge.settings import EdgeSettings
from tests.support.raw_http import Answer, ask, post
from tests.support.stack import new_session, running_edge, running_stack

NO_CORE = "127.0.0.1:1"
FRIEND = "https://app.example"
EVIL = "https://evil.example"
JSON = "Content-Type: application/json"
KEY = "tw_secret-of-ann"
WITH_KEYS: dict[str, Any] = {
    "auth": "keys",
    "api_keys": f"ann sha256:{hashlib.sha256(KEY.encode()).hexdigest()}",
    "principal_key": "p" * 32,
}


def changing_routes() -> list[tuple[str, str]]:
    """Return method and path of every route that is not only read."""
    app = create_app(EdgeSettings())
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    return sorted(
        (method, route.path.replace("{run_id:str}", "a" * 30))
        for route in routes
        for method in route.methods
        if method not in SAFE_METHODS
    )


def chat(*lines: str, host: str = "localhost") -> bytes:
    body = f'{{"message":"hi","sessionId":"{new_session()}","agent":"scripted"}}'
    return post("/api/chat", body.encode(), "Connection: close", *lines, host=host)


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["none", "keys"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An edge without a core that lets pages of one site in; with and without authentication."""
    settings = WITH_KEYS if request.param == "keys" else {}
    async with running_edge(NO_CORE, cors_origins=FRIEND, **settings) as (_, _, at):
        yield at


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def local() -> AsyncIterator[str]:
    """An edge and a core, as on a developer's machine."""
    async with running_stack() as stack:
        yield stack.url


def test_every_route_has_the_guard() -> None:
    """Also one that is added later, inside or outside of /api."""
    app = create_app(EdgeSettings())
    handlers = [
        handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
    ]
    assert len(handlers) > 10
    for handler in handlers:
        assert isinstance(handler.resolve_guards()[0], BrowserGuard), handler
    assert ("POST", "/api/chat") in changing_routes()


def reason(answer: Answer) -> Any:
    details: Any = answer.problem.get("details", {})
    return details.get("reason")


def told(answer: Answer) -> str:
    """Return a refusal's words, in whatever form the route's clients know."""
    if answer.headers["content-type"] == "application/problem+json":
        return answer.problem["detail"]
    return answer.body.decode()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path"), changing_routes())
class TestEveryChangingRoute:
    """Whatever it does, and whoever may use it."""

    @pytest.mark.parametrize(
        "lines",
        [
            (f"Origin: {EVIL}",),
            ("Origin: null",),
            (f"Origin: {EVIL}", "Sec-Fetch-Site: none"),
            (f"Origin: {EVIL}", "Sec-Fetch-Site: cross-site"),
            ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"),
            ("Origin: http://localhost:3000",),
            ("Sec-Fetch-Site: cross-site",),
            ("Sec-Fetch-Site: same-site",),
            ("Sec-Fetch-Site: something-new",),
            (f"Origin: {FRIEND}.evil.example", "Sec-Fetch-Site: cross-site"),
        ],
    )
    async def test_refuses_other_sites(
        self, url: str, method: str, path: str, lines: tuple[str, ...]
    ) -> None:
        """By what the browser says, or by the origin where it says nothing; before it asks who it is."""
        request = post(path, b"{}", JSON, *lines).replace(b"POST", method.encode(), 1)
        answer = await ask(url, request)
        assert answer.status == 403
        assert "Pages of other sites may not call this server." in told(answer)
        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize(
        "lines",
        [
            (),
            ("Origin: http://localhost",),
            ("Sec-Fetch-Site: none",),
            ("Origin: http://localhost", "Sec-Fetch-Site: same-origin"),
            ("Origin: https://the.page.before.a.proxy", "Sec-Fetch-Site: same-origin"),
            (f"Origin: {FRIEND}", "Sec-Fetch-Site: cross-site"),
            (f"Origin: {FRIEND}",),
        ],
    )
    async def test_lets_its_own_pages_programs_and_allowed_sites_pass(
        self, url: str, method: str, path: str, lines: tuple[str, ...]
    ) -> None:
        """What then comes is about the request itself, or about who asks."""
        request = post(path, b"{}", JSON, *lines).replace(b"POST", method.encode(), 1)
        assert (await ask(url, request)).status in {400, 401, 404, 503, 504}

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
    )
    async def test_takes_json_alone(self, url: str, method: str, path: str, kind: str | None) -> None:
        """Where the body is no JSON, or does not say so: a form needs nobody's permission to be sent."""
        lines = () if kind is None else (f"Content-Type: {kind}",)
        for body in (b"{}", b"") if kind else (b"{}",):
            answer = await ask(url, post(path, body, *lines).replace(b"POST", method.encode(), 1))
            assert answer.status == 415
            assert "application/json" in told(answer)
        chunked = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        chunked += "".join(f"{line}\r\n" for line in lines)
        assert (await ask(url, chunked.encode() + b"\r\n2\r\n{}\r\n0\r\n\r\n")).status == 415


@pytest.mark.asyncio(loop_scope="module")
class TestHosts:
    """On a developer's machine, where no password is asked for."""

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "evil.example",
                "evil.example:8000",
                "127.0.0.1.nip.io",
                "localhost.evil.example",
                "0.0.0.0:8000",
            ),
            *(
                "169.254.169.254",
                "[::ffff:1.2.3.4]",
                "evil.example:x",
                "[",
                "127.0.0.1@evil.example",
                "a:b:c",
            ),
        ],
    )
    async def test_other_names_are_refused_on_every_route(self, local: str, host: str) -> None:
        """A page may have its own name lead to 127.0.0.1: to its browser that is the same origin."""
        lines = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin", JSON)
        refused = [await ask(local, chat(*lines, host=host))]
        refused += [
            await ask(local, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            for path in ("/", "/health/live", "/schema", "/api/sessions/s/runs")
        ]
        assert {(answer.status, reason(answer)) for answer in refused} == {(403, "HOST_NOT_ALLOWED")}

    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST:1234", "localhost.", "127.0.0.1", "127.9.9.9:80", "[::1]:8000"]
    )
    async def test_loopback_is_served_under_all_its_names(self, local: str, host: str) -> None:
        """With any port: it may be forwarded."""
        answer = await ask(local, chat(JSON, host=host))
        assert answer.status == 200
        assert b"run_started" in answer.body

    async def test_more_names_can_be_allowed(self) -> None:
        """Where the edge stands behind a proxy of one's own."""
        async with running_edge(NO_CORE, allowed_hosts="dev.example Box.Local") as (_, _, at):
            for host, status in (("dev.example:8443", 200), ("box.local", 200), ("evil.example", 403)):
                request = f"GET /health/live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                assert (await ask(at, request)).status == status

    async def test_with_authentication_any_name_is_served_unless_some_are_set(self) -> None:
        """A page can't know the key; a list that is set holds all the same."""
        request = b"GET /health/live HTTP/1.1\r\nHost: chat.example\r\n\r\n"
        for more, status in (({}, 200), ({"allowed_hosts": "other.example"}, 403)):
            async with running_edge(NO_CORE, **WITH_KEYS, **more) as (_, _, at):
                assert (await ask(at, request)).status == status


async def test_the_calls_of_our_clients_pass() -> None:
    """A page's fetch with and without a body, EventSource, and programs: as they really look."""
    async with running_stack() as stack:
        page = {"origin": stack.url, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
        run_id = await stack.start()
        async with httpx.AsyncClient(base_url=stack.url, headers=page, trust_env=False) as client:
            body = {"message": "hi", "sessionId": new_session(), "agent": "scripted"}
            assert (await client.post("/api/chat", json=body)).status_code == 200
            assert (await client.post(f"/api/runs/{run_id}/ticket")).status_code == 200
            assert (await client.post(f"/api/runs/{run_id}/cancel")).status_code == 200
            assert (await client.get(f"/api/runs/{run_id}/events")).status_code == 200
        assert (await stack.client.post(f"/api/runs/{run_id}/cancel")).status_code == 200
