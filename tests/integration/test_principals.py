"""Who may call the core, and whose runs are whose: over TLS, mTLS and signed principals."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import jwt
import pytest

from agent_core.server import CoreServer
from agent_core.settings import Settings
from tests.support.certificates import Authority, Certificate
from tests.support.sse_reader import events_of
from tests.support.stack import running_edge
from tokenwire.outage import Repeats
from tokenwire.principal import ALGORITHM, AUDIENCE, LIFETIME_S, METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.run_pb2 import RunSpec

KEY = "k" * 32
REQUEST = pb.StreamRunRequest(run=RunSpec(message="a b", agent="echo"))


@asynccontextmanager
async def core(**settings: object) -> AsyncIterator[str]:
    """Run a core; give its address."""
    server = CoreServer(
        Settings(agent="echo=tests.support.agents:echo", grpc_port=0, drain_s=0, **settings)  # type: ignore[arg-type]
    )
    await server.start()
    try:
        yield f"localhost:{server.port}"
    finally:
        await server.stop()


def credentials(authority: Authority, shown: Certificate | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.file.read_bytes(),
        shown.key.read_bytes() if shown else None,
        shown.cert.read_bytes() if shown else None,
    )


async def ask(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> str:
    """Run `echo` and return the run's id."""
    async with channel:
        responses = [
            r async for r in AgentServiceStub(channel).StreamRun(REQUEST, metadata=metadata, timeout=20)
        ]
    assert responses[-1].events[-1].done.final_message == "a b "
    return responses[0].run_id


async def refused(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> grpc.StatusCode:
    """Return the code with which the core refuses to run anything."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, *metadata)
    return caught.value.code()


async def test_with_mtls_only_its_own_certificates_get_in(tmp_path: Path) -> None:
    """Plaintext, no certificate and a foreign one are refused; the right one is a principal."""
    authority, foreign = Authority(tmp_path), Authority(tmp_path, "foreign authority")
    server, client = authority.issue("core"), authority.issue("billing")
    tls = {"grpc_tls_cert": server.cert, "grpc_tls_key": server.key, "grpc_tls_client_ca": authority.file}
    async with core(principal_key=KEY, **tls) as address:
        secure = grpc.aio.secure_channel
        assert await ask(secure(address, credentials(authority, client)))
        assert await refused(grpc.aio.insecure_channel(address)) is grpc.StatusCode.UNAVAILABLE
        assert await refused(secure(address, credentials(authority))) is grpc.StatusCode.UNAVAILABLE
        stranger = foreign.issue("stranger")
        assert await refused(secure(address, credentials(authority, stranger))) is grpc.StatusCode.UNAVAILABLE
        assert await refused(secure(address, credentials(foreign, client))) is grpc.StatusCode.UNAVAILABLE


async def test_with_tls_alone_nobody_has_to_show_a_certificate(tmp_path: Path) -> None:
    """The line is encrypted; who calls is proven otherwise, or not at all on loopback."""
    authority = Authority(tmp_path)
    server = authority.issue("core")
    async with core(grpc_tls_cert=server.cert, grpc_tls_key=server.key) as address:
        assert await ask(grpc.aio.secure_channel(address, credentials(authority)))
        assert await refused(grpc.aio.insecure_channel(address)) is grpc.StatusCode.UNAVAILABLE


async def test_with_a_principal_key_every_call_says_on_whose_behalf() -> None:
    """A missing or forged principal is refused; health stays open to whoever watches."""
    async with core(principal_key=KEY) as address:
        plain = grpc.aio.insecure_channel
        assert await ask(plain(address), (METADATA_KEY, sign_principal("alice", KEY)))
        assert await refused(plain(address)) is grpc.StatusCode.UNAUTHENTICATED
        forged = (METADATA_KEY, sign_principal("alice", "o" * 32))
        assert await refused(plain(address), forged) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_run_is_its_principals_alone() -> None:
    """For anybody else it does not exist: not to follow, not to see, not to stop, and ids are not shared."""
    async with core(principal_key=KEY) as address, grpc.aio.insecure_channel(address) as channel:
        stub = AgentServiceStub(channel)
        alice = ((METADATA_KEY, sign_principal("alice", KEY)),)
        mallory = ((METADATA_KEY, sign_principal("mallory", KEY)),)
        start = pb.StartRunRequest(run=RunSpec(message="a", agent="echo", request_id="r1"))
        run_id = (await stub.StartRun(start, metadata=alice)).run.run_id
        assert (await stub.StartRun(start, metadata=alice)).run.run_id == run_id
        assert (await stub.StartRun(start, metadata=mallory)).run.run_id != run_id
        for call in (
            stub.GetRun(pb.GetRunRequest(run_id=run_id), metadata=mallory),
            stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=mallory),
            stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=mallory).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        followed = [r async for r in stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=alice)]
        assert followed[-1].events[-1].WhichOneof("payload") == "done"


@pytest.mark.usefixtures("transport")
async def test_an_edge_calls_on_behalf_of_its_keys_owners_over_mtls(tmp_path: Path) -> None:
    """Alice's run is Alice's at the core too; Bob, with a good key, gets 404."""
    authority = Authority(tmp_path)
    server, shown = authority.issue("core"), authority.issue("edge")
    tls = {"grpc_tls_cert": server.cert, "grpc_tls_key": server.key, "grpc_tls_client_ca": authority.file}
    keys = {name: f"tw_{name}-secret" for name in ("alice", "bob")}
    entries = ",".join(f"{n} sha256:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in keys.items())
    headers = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    async with (
        core(principal_key=KEY, **tls) as address,
        running_edge(
            address,
            auth="keys",
            api_keys=entries,
            principal_key=KEY,
            core_tls_ca=authority.file,
            core_tls_cert=shown.cert,
            core_tls_key=shown.key,
        ) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        body = {"message": "a b", "sessionId": "s", "agent": "echo"}
        answer = await client.post("/api/chat", json=body, headers=headers["alice"])
        events = events_of(answer.text)
        assert events[-1]["finalMessage"] == "a b "
        path = f"/api/runs/{events[0]['runId']}"
        assert (await client.get(path, headers=headers["alice"])).json()["state"] == "ended"
        assert (await client.get(path, headers=headers["bob"])).status_code == 404
        assert (await client.get(f"{path}/events", headers=headers["bob"])).status_code == 404
        assert (await client.post(f"{path}/cancel", headers=headers["bob"])).status_code == 404


async def test_a_core_without_the_key_does_not_take_an_edges_users_for_one() -> None:
    """The edge keeps them apart by a key that the core can't check: nothing is run, rather than shared."""
    entry = f"alice sha256:{hashlib.sha256(b'tw_alice').hexdigest()}"
    async with (
        core() as address,
        running_edge(address, auth="keys", api_keys=entry, principal_key=KEY) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        headers = {"authorization": "Bearer tw_alice"}
        answer = await client.post("/api/chat", json={"message": "a", "sessionId": "s"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")


def signer(shift_s: int) -> Callable[[str, str], str]:
    """Return what signs principals on a machine whose clock is shifted."""

    def sign(name: str, key: str) -> str:
        now = int(time.time()) + shift_s
        claims = {"sub": name, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME_S}
        return jwt.encode(claims, key, algorithm=ALGORITHM)

    return sign


def warnings(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Return what a logger has said that an operator sees."""
    return [r.getMessage() for r in caplog.records if r.name == name and r.levelno >= logging.WARNING]


@pytest.mark.parametrize("shift_s", [30, -80])
async def test_clocks_that_differ_are_nobodys_fault_and_pass(
    shift_s: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Users may try again, and both logs name the clock: once, however often it happens."""
    monkeypatch.setattr("edge.upstream.core.sign_principal", signer(shift_s))
    monkeypatch.setattr("edge.upstream.status._clock_lines", Repeats())
    async with (
        core(principal_key=KEY) as address,
        running_edge(address, principal_key=KEY) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        body = {"message": "a", "sessionId": "s"}
        for accept in ("text/event-stream", "application/json"):
            answer = await client.post("/api/chat", json=body, headers={"accept": accept})
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (503, "UNAVAILABLE")
            assert (problem["retryable"], problem["details"]["reason"]) == (True, "CLOCK_SKEW")
    (at_core,) = warnings(caplog, "agent_core.rpc.authentication")
    (at_edge,) = warnings(caplog, "edge.upstream.status")
    side = "ahead of" if shift_s > 0 else "behind"
    assert "a signed principal was refused" in at_core
    assert f"{side} this one's" in at_core
    assert "the core refuses this edge's calls" in at_edge
    told_s = re.search(r"about (-?\d+) s", at_edge)
    assert told_s is not None
    assert abs(int(told_s[1]) - shift_s) < 10


async def test_that_the_core_refuses_the_edge_is_not_the_browsers_fault() -> None:
    """A client is not asked for another key: the edge is set up wrongly, and its log says so."""
    async with (
        core(principal_key=KEY) as address,
        running_edge(address) as (_, _, url),
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        answer = await client.post("/api/chat", json={"message": "a", "sessionId": "s"})
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
