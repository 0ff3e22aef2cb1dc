"""`GET /metrics`: at the edge, on a port of its own, and who may see it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import TOKENWIRE, Processes, Running, free_port, wait_until
from tests.support.spans import Spans, spans
from tests.support.stack import running_edge, running_stack
from tokenwire.telemetry.metrics import Home, server
from tokenwire.telemetry.metrics.exposition import OPENMETRICS_TYPE
from tokenwire.telemetry.metrics.instruments import STREAMS_CLOSED, TOKENS
from tokenwire.telemetry.metrics.server import MAX_CONNECTIONS, MetricsPortError, MetricsServer, bind_metrics
from tokenwire.telemetry.settings import TelemetrySettings

__all__ = ["spans"]

LOGGED = re.compile(r"metrics on (http://\S+)")


@pytest.fixture
async def port(metrics: Home) -> AsyncIterator[int]:
    """A metrics server in this loop."""
    metrics.begin("core")
    listener = bind_metrics(TelemetrySettings(metrics_port=0))
    assert listener is not None
    serving = MetricsServer(listener)
    await serving.start()
    yield listener.getsockname()[1]
    await serving.stop()


async def ask(port: int, request: bytes) -> bytes:
    """Return all that is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def value_of(page: str, name: str, **labels: str) -> float:
    """Return a sample of a page."""
    return next(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )


@pytest.mark.usefixtures("metrics")
async def test_the_edge_serves_its_numbers() -> None:
    """In the format that the reader asks for, never from a cache."""
    TOKENS.add(3)
    STREAMS_CLOSED.add(1, "evicted")
    async with running_edge("127.0.0.1:1") as (_, _, url), httpx.AsyncClient(trust_env=False) as client:
        text = await client.get(f"{url}/metrics")
        openmetrics = await client.get(f"{url}/metrics", headers={"accept": OPENMETRICS_TYPE})
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert text.headers["cache-control"] == "no-store"
    assert value_of(text.text, "tokenwire_tokens_total") == 3
    assert value_of(text.text, "tokenwire_streams_closed_total", outcome="evicted") == 1
    assert openmetrics.headers["content-type"].startswith(OPENMETRICS_TYPE)
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.usefixtures("metrics")
async def test_a_page_of_another_name_can_not_read_them() -> None:
    """A name that is given the address 127.0.0.1 (DNS rebinding) is refused, as at all routes."""
    async with running_edge("127.0.0.1:1") as (_, _, url), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/metrics", headers={"host": "evil.example"})
    assert answer.status_code == 403


@pytest.mark.usefixtures("metrics")
async def test_a_scrape_makes_no_span(spans: Spans) -> None:
    """There would be more of them than of anything else."""
    async with running_edge("127.0.0.1:1") as (_, _, url), httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/metrics")).status_code == 200
    assert not spans.all()


async def test_a_run_is_counted_where_it_happens(metrics: Home, tmp_path: object) -> None:
    """A real run on SQLite: the store, a stop and a resume are on the page of their process."""
    metrics.begin("core")
    async with running_stack({"store": f"sqlite:{tmp_path}/runs.db"}) as stack:
        async with stack.chat(agent="scripted") as response:
            text, run_id = (await response.aread()).decode(), response.headers["run-id"]
        first = re.search(r"^id: (\S+)$", text, re.MULTILINE)
        assert first is not None
        await stack.client.get(f"/api/runs/{run_id}/events", headers={"last-event-id": first.group(1)})
        slow = await stack.start(agent="slow", onDisconnect="continue")
        assert (await stack.client.post(f"/api/runs/{slow}/cancel")).status_code == 200
        await stack.ended(slow)
        page = (await stack.client.get("/metrics")).text
    for operation in ("create", "append", "info"):
        count = "tokenwire_store_duration_seconds_count"
        assert value_of(page, count, store="sqlite", operation=operation) > 0
    assert value_of(page, "tokenwire_cancel_duration_seconds_count", cause="cancelled") == 1
    assert value_of(page, "tokenwire_resumes_total", by="client") == 1
    assert value_of(page, "tokenwire_event_loop_lag_seconds_count") > 0


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /metrics HTTP/1.1", "", 200),
        ("HEAD /metrics HTTP/1.1", "", 200),
        ("GET /metrics?name[]=up HTTP/1.0", "Host: [::1]:9464\r\n", 200),
        ("GET /metrics HTTP/1.1", "Host: evil.example\r\n", 403),
        ("GET /metrics HTTP/1.1", "Host: [\r\n", 403),
        ("GET / HTTP/1.1", "", 404),
        ("GET /metrics/.. HTTP/1.1", "", 404),
        ("POST /metrics HTTP/1.1", "", 405),
        ("nonsense", "", 400),
    ],
)
async def test_its_own_port_answers_one_request(
    port: int, request_line: str, headers: str, status: int
) -> None:
    """Only `GET /metrics`, and then the connection is over."""
    answer = await ask(port, f"{request_line}\r\n{headers}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"tokenwire_event_loop_lag_seconds_bucket" in body) == (status == 200 and "GET" in request_line)


async def test_a_request_that_is_too_long_is_refused(port: int) -> None:
    """What nobody needs to send is not kept."""
    assert b" 431 " in await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000)


async def test_who_says_nothing_is_sent_away(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection can't be held."""
    monkeypatch.setattr(server, "REQUEST_S", 0.05)
    assert await ask(port, b"GET /metrics") == b""


async def is_held(port: int) -> bool:
    """Return whether one more connection is waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(0.1):
            return bool(await reader.read())
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False
    finally:
        writer.close()


async def test_connections_are_few(port: int) -> None:
    """Those above are cut at once; the others are still served."""
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    try:
        async with asyncio.timeout(20):
            # The server may not have accepted all of them yet.
            while await is_held(port):
                pass
        reader, writer = held[0]
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
    finally:
        for _, writer in held:
            writer.close()


def test_a_port_that_is_taken_is_said() -> None:
    """With its address, and why."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(MetricsPortError, match=rf"127\.0\.0\.1:{taken}: Address already in use"):
            bind_metrics(TelemetrySettings(metrics_port=taken))


def metrics_urls(process: Running, count: int) -> list[str]:
    """Return where a process, and its children, log that their metrics are."""
    wait_until(lambda: len(LOGGED.findall(process.stderr)) >= count, "the log says where metrics are")
    return LOGGED.findall(process.stderr)


def lag_ticks(url: str) -> float:
    """Return how often a process has measured its event loop."""
    return value_of(httpx.get(url, trust_env=False).text, "tokenwire_event_loop_lag_seconds_count")


def test_an_edge_that_shares_its_port_says_what_that_means(processes: Processes) -> None:
    """Numbers of one process and then of another look like counters that were set back."""
    command = [*TOKENWIRE, "edge", "--core", "127.0.0.1:1", "--port", str(free_port())]
    edge = processes.start("edge", command, {"TOKENWIRE_REUSE_PORT": "1"})
    wait_until(lambda: "set TOKENWIRE_METRICS_PORT for each" in edge.stderr, "the warning")


def test_processes_serve_their_metrics_where_they_were_asked_to(processes: Processes) -> None:
    """The core only on its own port, the edge then only there, too; `service.name` says which is which."""
    settings = {"TOKENWIRE_METRICS_PORT": "0"}
    core, core_process = processes.core(settings=settings)
    url, edge_process = processes.edge(core, settings=settings)
    for process, name in ((core_process, "tokenwire-core"), (edge_process, "tokenwire-edge")):
        (where,) = metrics_urls(process, 1)
        wait_until(lambda where=where: lag_ticks(where) > 0, "the loop is measured")  # type: ignore[misc]
        page = httpx.get(where, trust_env=False).text
        assert f'service_name="{name}"' in page
        assert ("tokenwire_resumes_total" in page) == (name == "tokenwire-edge")
    assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404


def test_workers_have_a_port_each(processes: Processes) -> None:
    """At the port that they share, each scrape would meet another one: there is nothing."""
    ports = [free_port()]
    while len(ports) < 3:
        port = free_port()
        ports = [*ports, port] if port == ports[-1] + 1 else [port]
    first = ports[0]
    stack = processes.up("--workers", "2", settings={"TOKENWIRE_METRICS_PORT": str(first)})
    urls = metrics_urls(stack.process, 3)
    assert sorted(urls) == [f"http://127.0.0.1:{first + number}/metrics" for number in range(3)]
    instances = {
        re.search(r'service_instance_id="([^"]+)"', httpx.get(url, trust_env=False).text).group(1)  # type: ignore[union-attr]
        for url in urls
    }
    assert len(instances) == 3
    assert httpx.get(f"{stack.url}/metrics", trust_env=False).status_code == 404


@pytest.mark.parametrize("kind", ["core", "edge"])
def test_a_process_whose_metrics_port_is_taken_ends(processes: Processes, kind: str) -> None:
    """With one line, and the exit status of a port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings = {"TOKENWIRE_METRICS_PORT": str(taken)}
        if kind == "core":
            _, process = processes.start_core(settings=settings)
        else:
            command = [*TOKENWIRE, "edge", "--core", "127.0.0.1:1", "--port", str(free_port())]
            process = processes.start("edge", command, settings)
        assert process.wait() == 1
    (line,) = [line for line in process.stderr.splitlines() if "metrics" in line]
    assert line.endswith(f"can't serve metrics on 127.0.0.1:{taken}: Address already in use")
    assert "Traceback" not in process.stderr
