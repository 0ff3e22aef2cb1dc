"""One address means the same at the core, the edge, the command line and the health check, past any proxy."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from agent_core.agents.endpoint.client import make_client
from agent_core.agents.endpoint.settings import EndpointSettings
from tests.support.processes import ROOT, TOKENWIRE, Processes, free_port
from tests.support.stack import running_core, running_edge
from tokenwire import health
from tokenwire.authentication.jwks import JwksEndpoint
from tokenwire.telemetry import collector

HAS_IPV6 = Path("/proc/net/if_inet6").exists()
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def dead_proxy() -> str:
    """Return the address of a proxy that is not there: whoever asks it fails."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the environment name a proxy that is not there."""
    proxy = dead_proxy()
    for name in PROXIES:
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)


async def run_to_the_end(url: str) -> str:
    """Return the text of a run that an edge streams."""
    body = {"message": "hi", "sessionId": "s", "agent": "scripted"}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        response = await client.post("/api/chat", json=body, headers={"accept": "text/event-stream"})
    assert response.status_code == 200, response.text
    return response.text


async def ask(*options: str) -> str:
    """Return what `tokenwire ask` prints, in this process's environment."""
    process = await asyncio.create_subprocess_exec(
        *(*TOKENWIRE, "ask", "--agent", "scripted", "--patience", "0", *options, "hi"),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.usefixtures("proxied")
@pytest.mark.parametrize("written", ["::1", "[::1]"])
async def test_ipv6_loopback_is_one_address_everywhere(written: str) -> None:
    """With and without brackets, at core and edge; past the proxy that the environment names."""
    async with running_core(grpc_host=written) as core:
        target = f"[::1]:{core.port}"
        async with running_edge(target, host=written) as (_, _, url):
            text = await run_to_the_end(url.replace("127.0.0.1", "[::1]"))
            assert '"type":"done"' in text
        assert await asyncio.to_thread(health.main, [target]) == 0


@pytest.mark.usefixtures("proxied")
async def test_a_core_is_reached_through_a_unix_socket(tmp_path: Path) -> None:
    """By an edge, by the command line and by the health check."""
    target = f"unix:{tmp_path}/core.sock"
    async with running_core(grpc_host=target) as core:
        assert core.port == 0
        async with running_edge(target) as (_, _, url):
            assert '"type":"done"' in await run_to_the_end(url)
        assert await asyncio.to_thread(health.main, [target]) == 0
        assert await ask("--core", target)


@pytest.mark.usefixtures("proxied")
async def test_both_doors_on_loopback_are_asked_past_proxies() -> None:
    """`ask` over gRPC and over SSE, and the edge its core."""
    async with running_core() as core, running_edge(f"localhost:{core.port}") as (_, _, url):
        assert await ask("--core", f"127.0.0.1:{core.port}") == await ask("--via", "sse", "--url", url)
        edge_health = ["--timeout", "10", f"{url}/health/ready"]
        assert await asyncio.to_thread(health.main, edge_health) == 0


def test_up_starts_behind_a_proxy(processes: Processes) -> None:
    """Its health checks, its edge and its core are all on loopback."""
    proxy = dead_proxy()
    stack = processes.up(agents=("scripted",), settings=dict.fromkeys(PROXIES, proxy) | {"no_proxy": ""})
    assert httpx.get(f"{stack.url}/health/ready", trust_env=False, timeout=10).status_code == 200


@pytest.mark.usefixtures("proxied")
async def test_models_issuers_and_collectors_on_loopback_are_asked_past_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And those elsewhere through them."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).split()[1])
        body = b'{"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with make_client(EndpointSettings(url=f"{address}/v1")) as client:
            assert [model.id async for model in client.models.list()] == ["m"]
        async with JwksEndpoint(f"{address}/keys", refresh_s=300).running():
            async with asyncio.timeout(20):
                while b"/keys" not in asked:
                    await asyncio.sleep(0.01)
    assert asked == [b"/v1/models", b"/keys"]
    for endpoint, is_near in (
        ("http://127.0.0.1:4317", True),
        ("localhost:4317", True),
        ("http://collector:4317", False),
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        assert collector.collector_is_near("traces") is is_near


def test_an_unknown_variable_is_told_by_edge_and_command_line(processes: Processes) -> None:
    """A misspelt TOKENWIRE_STORE must not pass unnoticed; the right one, the core's, is known to all."""
    settings = {"TOKENWIRE_STOER": "memory", "TOKENWIRE_STORE": "memory", "TOKENWIRE_PORT": "0"}
    edge = processes.start("edge", [sys.executable, "-m", "edge"], settings)
    edge.wait_ready(lambda: "edge ready" in edge.stderr)
    asked = processes.start(
        "ask", [*TOKENWIRE, "ask", "--core", f"127.0.0.1:{free_port()}", "--patience", "0", "hi"], settings
    )
    assert asked.wait() == 3
    told = "TOKENWIRE_STOER is not a variable of Tokenwire and is ignored. Did you mean TOKENWIRE_STORE?"
    for text in (edge.stderr, asked.stderr):
        assert text.count("is not a variable of Tokenwire") == text.count(told) == 1


def test_up_ends_with_2_where_restarting_does_not_help(processes: Processes) -> None:
    """As the process does whose setting can't work."""
    up = processes.start("up", [*TOKENWIRE, "up", "--port", "0", "--grpc-port", "0", "--store", "reddis://x"])
    assert up.wait() == 2
    assert "agent_core: TOKENWIRE_STORE: 'reddis://x' is not one of" in up.stderr
    assert "ended with exit status 2. Stopping all processes." in up.stderr
