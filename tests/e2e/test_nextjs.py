"""The example app of Next.js in Chromium: its production build, before a real edge with API keys."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from agent_core.agents.pace import pace_text
from tests.support import system
from tests.support.browser import running_chromium, shoot
from tests.support.nextjs import build_once, recording_server, serve_app
from tests.support.processes import Processes, wait_until
from tests.support.proxy import proxy_to

pytestmark = [pytest.mark.needs("node"), pytest.mark.needs("chromium"), pytest.mark.xdist_group("nextjs")]

PATIENCE_MS = 30_000
KEYS = {"ann": "tw_key-of-ann", "bob": "tw_key-of-bob"}
USERS = ",".join(f"{name}:password-of-{name}:{key}" for name, key in KEYS.items())
STARTS_PER_MINUTE = 30

TIMES_OF_READS = """async order => {
    const response = await fetch('/api/agent/stream', {
        method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({message: order, sessionId: crypto.randomUUID(), agent: 'pace'}),
    });
    const reader = response.body.getReader(), times = new Set();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read())
        if (new TextDecoder().decode(piece.value).includes('text_delta')) times.add(performance.now());
    return times.size;
}"""
START_AND_LEAVE = """async order => {
    const leaving = new AbortController();
    const response = await fetch('/api/agent/stream', {
        method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({
            message: order, sessionId: crypto.randomUUID(), agent: 'pace', onDisconnect: 'cancel',
        }),
        signal: leaving.signal,
    });
    const reader = response.body.getReader();
    while (!new TextDecoder().decode((await reader.read()).value).includes('text_delta'));
    leaving.abort();
    return response.headers.get('run-id');
}"""


@dataclass(frozen=True)
class App:
    """The app, and the edge that it asks."""

    url: str
    edge: str

    def end_of(self, run_id: str) -> str | None:
        """Return how a run of ann's has ended, as the edge itself tells her; None while it goes on."""
        headers = {"Authorization": f"Bearer {KEYS['ann']}"}
        run = httpx.get(f"{self.edge}/api/runs/{run_id}", headers=headers, trust_env=False).json()
        terminal: dict[str, str] | None = run["terminal"]
        return terminal["reason"] if terminal else None


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Processes, str], str]:
    """Serves the app, which has been built, before the edge with that URL; returns its own."""
    own = tmp_path_factory.getbasetemp()
    build_once(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    return lambda processes, edge: serve_app(processes, edge, USERS)


@pytest.fixture(scope="module")
def app(serve: Callable[[Processes, str], str], module_processes: Processes) -> App:
    entries = [f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()]
    settings = {
        "TOKENWIRE_AUTH": "keys",
        "TOKENWIRE_API_KEYS": ",".join(entries),
        "TOKENWIRE_STARTS_PER_MINUTE": str(STARTS_PER_MINUTE),
    }
    edge = module_processes.up(settings=settings).url
    return App(serve(module_processes, edge), edge)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    # To end before the app: Next waits half a minute for connections that a browser has opened in advance.
    request.getfixturevalue("app")
    with running_chromium(system.find("chromium") or "") as running:
        yield running


@pytest.fixture(scope="module")
def context(browser: Browser, app: App) -> BrowserContext:
    """A browser in which ann has signed in."""
    return sign_in(browser, app.url).context


@pytest.fixture
def page(context: BrowserContext, app: App) -> Iterator[Page]:
    """A new conversation of ann's with `pace`."""
    page = context.new_page()
    page.goto(f"{app.url}/?agent=pace")
    yield page
    page.close()


@pytest.fixture
def client(context: BrowserContext, app: App) -> Iterator[httpx.Client]:
    """A client of the app with ann's cookies."""
    with client_of(context, app.url) as client:
        yield client


def order(tokens: int, rate: float) -> str:
    """Return the message that has `pace` yield so many tokens of five digits, so many a second."""
    return json.dumps({"tokens": tokens, "rate": rate})


def sign_in(browser: Browser, url: str, name: str = "ann") -> Page:
    """Return a page, in a context of its own, on which a user has signed in."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(f"{url}/?agent=pace")
    fill_in(page, name)
    return page


def fill_in(page: Page, name: str) -> None:
    """Sign in where the page asks for it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"password-of-{name}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("user")).to_have_text(name, timeout=PATIENCE_MS)


def ask(page: Page, question: str) -> None:
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("send").click()


def client_of(context: BrowserContext, url: str) -> httpx.Client:
    """Return a client with a browser's cookies."""
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    return httpx.Client(base_url=url, cookies=cookies, trust_env=False, timeout=30)


def signed_in_client(browser: Browser, url: str, name: str = "ann") -> httpx.Client:
    """Return a client with the cookies of a user who has signed in, in a browser that is closed again."""
    context = sign_in(browser, url, name).context
    client = client_of(context, url)
    context.close()
    return client


def session_of(page: Page) -> str:
    return urlsplit(page.url).query.partition("session=")[2].partition("&")[0]


def runs_of(page: Page, app: App) -> list[str]:
    """Return the ids of the runs of a page's session."""
    with client_of(page.context, app.url) as client:
        runs = client.get(f"/api/agent/sessions/{session_of(page)}/runs").json()["runs"]
    return [run["runId"] for run in runs]


def test_who_signs_in_is_answered_with_the_key_that_the_server_adds(browser: Browser, app: App) -> None:
    """Without a sign-in nothing is answered; a wrong password is refused; the page never has the key."""
    assert httpx.get(f"{app.url}/api/agent/sessions/s/runs", trust_env=False).status_code == 401
    page = browser.new_context().new_page()
    page.goto(app.url)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("wrong")
    page = sign_in(browser, app.url)
    requests: list[dict[str, str]] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.headers))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.reload()
    ask(page, order(5, 0))
    expect(page.get_by_test_id("answer")).to_have_text(pace_text(5, 5), timeout=PATIENCE_MS)
    shoot(page, "nextjs")
    assert complaints == []
    assert not any("authorization" in headers for headers in requests)
    assert KEYS["ann"] not in page.content()
    assert app.end_of(runs_of(page, app)[0]) == "stop"


def test_tokens_arrive_one_by_one(page: Page) -> None:
    """Nothing on the way holds tokens back: most of forty, two a tenth of a second, are read apart."""
    assert page.evaluate(TIMES_OF_READS, order(40, 20)) > 30


def test_an_answer_grows_in_the_page(page: Page) -> None:
    """The chat draws the text in many steps, and ends with the whole."""
    page.evaluate(
        """() => {
            window.drawn = new Set();
            new MutationObserver(() => {
                const answer = document.querySelector('[data-testid=answer]');
                if (answer) window.drawn.add(answer.textContent);
            }).observe(document.body, {subtree: true, childList: true, characterData: true});
        }"""
    )
    ask(page, order(40, 20))
    expect(page.get_by_test_id("answer")).to_have_text(pace_text(40, 5), timeout=PATIENCE_MS)
    assert page.evaluate("() => window.drawn.size") > 10


def test_stop_reaches_the_core(page: Page, app: App) -> None:
    """The run ends as cancelled there, and the page says so and keeps the text."""
    ask(page, order(100_000, 20))
    expect(page.get_by_test_id("answer")).to_contain_text(pace_text(2, 5), timeout=PATIENCE_MS)
    [run_id] = runs_of(page, app)
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("stop")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.get_by_test_id("status")).to_contain_text("stopped")
    expect(page.get_by_test_id("answer")).to_contain_text(pace_text(2, 5))
    assert app.end_of(run_id) == "cancelled"


def test_leaving_reaches_the_core(page: Page, app: App) -> None:
    """A fetch that is aborted ends a run that was to be cancelled when its reader leaves."""
    run_id = page.evaluate(START_AND_LEAVE, order(100_000, 20))
    wait_until(lambda: app.end_of(run_id) == "cancelled", "the core has cancelled the run")


def test_an_answer_goes_on_after_a_cut_and_after_a_reload(browser: Browser, app: App) -> None:
    """All of a page's connections are cut twice, it is loaded anew, and shows the exact text of one run."""
    with proxy_to(urlsplit(app.url).netloc) as relay:
        page = sign_in(browser, f"http://{relay.address}")
        ask(page, order(120, 20))
        for tokens in (10, 30):
            expect(page.get_by_test_id("answer")).to_contain_text(pace_text(tokens, 5), timeout=PATIENCE_MS)
            relay.cut()
        expect(page.get_by_test_id("answer")).to_contain_text(pace_text(50, 5), timeout=PATIENCE_MS)
        page.reload()
        expect(page.get_by_test_id("answer")).to_have_text(pace_text(120, 5), timeout=PATIENCE_MS)
        expect(page.get_by_test_id("turn-user")).to_have_count(1)
        assert len(runs_of(page, app)) == 1


def test_starts_and_resumes_keep_their_headers(client: httpx.Client) -> None:
    """Accept, Idempotency-Key, Last-Event-ID and the query reach the edge; status and headers come back."""
    body = {"message": order(3, 0), "sessionId": "headers", "agent": "pace"}
    key = {"Idempotency-Key": "same", "Accept": "application/json"}
    started = [client.post("/api/agent/chat", json=body, headers=key) for _ in range(2)]
    assert [response.status_code for response in started] == [202, 202]
    run_id = started[0].json()["runId"]
    assert [response.headers["run-id"] for response in started] == [run_id, run_id]
    assert started[0].headers["location"] == f"/api/agent/runs/{run_id}"
    events = f"/api/agent/runs/{run_id}/events"
    whole = client.get(events)
    ids = [line[4:] for line in whole.text.splitlines() if line.startswith("id: ")]
    assert whole.headers["content-type"] == "text/event-stream"
    assert whole.headers["cache-control"] == "no-cache, no-transform"
    for rest in (
        client.get(events, headers={"Last-Event-ID": ids[1]}),
        client.get(events, params={"after": ids[1]}),
    ):
        assert ids[2:] == [line[4:] for line in rest.text.splitlines() if line.startswith("id: ")]
    assert client.get(events, headers={"Last-Event-ID": ids[-1]}).status_code == 204
    missing = client.get("/api/agent/runs/none")
    assert missing.status_code in {400, 404}
    assert missing.headers["content-type"] == "application/problem+json"


def test_a_refusal_keeps_the_time_to_wait(browser: Browser, app: App) -> None:
    """Who starts too many runs is told 429, and when to come back."""
    with signed_in_client(browser, app.url, "bob") as client:
        refused = next(
            response
            for number in range(10 * STARTS_PER_MINUTE)
            if (response := start(client, f"many-{number}")).status_code != 202
        )
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["code"] == "RESOURCE_EXHAUSTED"


def start(client: httpx.Client, session_id: str) -> httpx.Response:
    """Start a short run without reading it."""
    body = {"message": order(1, 0), "sessionId": session_id, "agent": "pace"}
    return client.post("/api/agent/stream", json=body, headers={"Accept": "application/json"})


def test_the_edge_gets_what_it_needs_and_nothing_else(
    browser: Browser, serve: Callable[[Processes, str], str], processes: Processes
) -> None:
    """The browser's own Authorization, cookies and other headers stay here, and no cookie comes back."""
    answer = {"Retry-After": "7", "Run-Id": "r1", "Set-Cookie": "a=b", "Content-Type": "application/json"}
    with recording_server(503, answer) as edge:
        url = serve(processes, edge.url)
        with signed_in_client(browser, url) as client:
            foreign = {
                "Authorization": "Bearer mine",
                "X-Cut": "1",
                "X-Forwarded-For": "1.2.3.4",
                "TE": "gzip",
            }
            wanted = {"Accept": "text/event-stream", "Last-Event-ID": "r.1.2", "Idempotency-Key": "k"}
            response = client.post("/api/agent/stream?timing=1", json={"a": "ü"}, headers=foreign | wanted)
    # The page itself has asked, too: for its conversation of before.
    [(request, headers, body)] = [asked for asked in edge.requests if asked[0].startswith("POST")]
    assert request == "POST /api/chat?timing=1"
    assert json.loads(body) == {"a": "ü"}
    assert headers["authorization"] == f"Bearer {KEYS['ann']}"
    assert {name: headers[name.lower()] for name in wanted} == wanted
    assert not {"cookie", "x-cut", "x-forwarded-for", "te", "origin"} & set(headers)
    assert response.status_code == 503
    assert (response.headers["retry-after"], response.headers["run-id"]) == ("7", "r1")
    assert "set-cookie" not in response.headers


def test_who_is_signed_out_signs_in_again_and_goes_on(browser: Browser, app: App) -> None:
    """When the session is over, the page goes to the sign-in, and from there back to its conversation."""
    page = sign_in(browser, app.url)
    session = session_of(page)
    ask(page, order(1, 0))
    expect(page.get_by_test_id("answer")).to_have_text(pace_text(1, 5), timeout=PATIENCE_MS)
    page.context.clear_cookies()
    ask(page, order(2, 0))
    fill_in(page, "ann")
    assert session_of(page) == session
    expect(page.get_by_test_id("answer")).to_have_text(pace_text(1, 5), timeout=PATIENCE_MS)


def test_a_key_that_the_edge_refuses_is_no_matter_of_the_user(
    browser: Browser, serve: Callable[[Processes, str], str], processes: Processes
) -> None:
    """A 401 would send the user to the sign-in over and over: it becomes a 502, not to be tried again."""
    with recording_server(401, {}) as edge:
        url = serve(processes, edge.url)
        with signed_in_client(browser, url) as client:
            refused = client.get("/api/agent/sessions/s/transcript")
    assert refused.status_code == 502
    assert refused.json()["retryable"] is False


@pytest.mark.parametrize(
    "target",
    ["../health/live", "%2e%2e/health/live", "..%2fhealth/live", "runs/..%2f..%2fhealth", "runs//events"],
)
def test_a_path_outside_of_the_api_is_refused(context: BrowserContext, app: App, target: str) -> None:
    """However it is written, it never reaches the edge."""
    cookie = context.cookies()[0]
    connection = HTTPConnection(urlsplit(app.url).netloc, timeout=30)
    try:  # httpx would tidy the path up
        headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
        connection.request("GET", f"/api/agent/{target}", headers=headers)
        response = connection.getresponse()
        said = response.read()
    finally:
        connection.close()
    assert response.status in {308, 400, 404}
    assert b'"status":"ok"' not in said


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_has_its_limit(client: httpx.Client, framing: str) -> None:
    """Above 256 KiB it is refused, whether its length is told before or not."""
    body = b'{"message": "' + b"a" * 300_000 + b'"}'
    content = body if framing == "length" else iter([body[:100_000], body[100_000:]])
    refused = client.post("/api/agent/stream", content=content, headers={"Content-Type": "application/json"})
    assert refused.status_code == 413


@pytest.mark.parametrize("told", [{"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}])
def test_pages_of_other_sites_are_refused(client: httpx.Client, told: dict[str, str]) -> None:
    """A browser sends the user's cookie from other ports of the same host, too."""
    refused = client.post("/api/agent/stream", json={}, headers=told)
    assert refused.status_code == 403
