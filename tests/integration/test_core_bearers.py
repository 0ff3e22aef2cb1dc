"""API keys and JWTs at a real core, over TLS and as gRPC's own call credentials send them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.certificates import Authority
from tests.support.core import events_of, refusal_of
from tests.support.issuer import AUDIENCE, ISSUER, Signer, publishing
from tests.support.sse_reader import events_of as events_in
from tests.support.stack import running_core, running_stack
from tokenwire.authentication import jwks
from tokenwire.cli.key import make_key
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.run_pb2 import RunSpec

API_KEY, ENTRY = make_key("ann")
JWT = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
PRINCIPAL_KEY = "p" * 32
REQUEST = pb.StreamRunRequest(run=RunSpec(message="a b", agent="echo"))
BOUNDED_S = 20.0
LEEWAY_S = 30


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def bearing(bearer: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {bearer}"),)


async def ask(channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]] = ()) -> str:
    """Run `echo` and return the run's id."""
    call = AgentServiceStub(channel).StreamRun(REQUEST, metadata=metadata, timeout=BOUNDED_S)
    responses = [response async for response in call]
    assert events_of(responses)[-1].done.final_message == "a b "
    return responses[0].run_id


async def refused(channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
    """Return code and reason with which the core refuses a call whose request is never sent."""
    call = channel.stream_stream("/tokenwire.v1.AgentService/StreamRun")(metadata=metadata, timeout=BOUNDED_S)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    refusal = refusal_of(caught.value)
    return refusal.code, refusal.info.reason


async def reason_for(channel: grpc.aio.Channel, run_id: str, metadata: Sequence[tuple[str, str]]) -> str:
    """Return with which reason somebody is refused a run."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await AgentServiceStub(channel).GetRun(
            pb.GetRunRequest(run_id=run_id), metadata=metadata, timeout=BOUNDED_S
        )
    return refusal_of(caught.value).info.reason


async def is_serving(channel: grpc.aio.Channel) -> bool:
    """Return what the health service says, without any proof."""
    check = health_pb2_grpc.HealthStub(channel).Check
    answer = await check(health_pb2.HealthCheckRequest(), timeout=BOUNDED_S)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def channel_to(**settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    """Run a core on loopback, and give a channel to it."""
    async with (
        running_core(**settings) as core,
        grpc.aio.insecure_channel(f"127.0.0.1:{core.port}") as channel,
    ):
        yield channel


async def test_over_tls_a_stock_client_gets_in_with_its_key_or_token(tmp_path: Path) -> None:
    """With gRPC's own call credentials, which add `authorization: Bearer …` to each call."""
    signer, authority = Signer("RS256"), Authority(tmp_path)
    shown = authority.issue("core")
    tls = {"grpc_tls_cert": shown.cert, "grpc_tls_key": shown.key}
    encrypted = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with publishing(signer) as issuer:
        settings = {**tls, **JWT, "auth": "keys,jwt", "api_keys": ENTRY, "jwt_jwks_url": issuer.url}
        async with running_core(**settings) as core:
            address = f"localhost:{core.port}"
            run_ids = []
            for bearer in (API_KEY, signer.token(sub="ann")):
                proof = grpc.access_token_call_credentials(bearer)
                credentials = grpc.composite_channel_credentials(encrypted, proof)
                async with grpc.aio.secure_channel(address, credentials) as channel:
                    run_ids.append(await ask(channel))
            async with grpc.aio.secure_channel(address, encrypted) as channel:
                # The key's ann and the issuer's ann are two: none sees the other's run.
                assert await reason_for(channel, run_ids[1], bearing(API_KEY)) == "RUN_UNKNOWN"
                assert (
                    await reason_for(channel, run_ids[0], bearing(signer.token(sub="ann"))) == "RUN_UNKNOWN"
                )
                assert await refused(channel) == ("UNAUTHENTICATED", "PRINCIPAL_MISSING")
                assert await refused(channel, bearing(f"{API_KEY}x")) == ("UNAUTHENTICATED", "KEY_INVALID")
                assert await is_serving(channel)


def forged(signer: Signer, algorithm: str, secret: bytes | None) -> str:
    """Return a token that says all that it must, unsigned or signed with what everybody knows."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 300}
    parts = ({"alg": algorithm, "kid": signer.kid}, claims)
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, text, hashlib.sha256) if secret else b""
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_a_token_that_proves_nobody_is_refused_before_the_request_is_read(tmp_path: Path) -> None:
    """Of each kind, with the same words as at the edge; and the log's lines do not grow with them."""
    signer, now = Signer("ES256"), time.time()
    (tmp_path / "keys").write_bytes(signer.pem())
    invalid = {
        "another audience": signer.token(aud="another service"),
        "no audience": signer.token(aud=None),
        "another issuer": signer.token(iss=f"{ISSUER}/"),
        "no expiry": signer.token(exp=None),
        "another key of that name": Signer("ES256", signer.kid).token(),
        "an unknown kid, signed by a stranger": Signer("ES256", "k9").token(),
        "another algorithm": Signer("RS256", signer.kid).token(),
        "alg none": forged(signer, "none", None),
        "HS256 with the public key": forged(signer, "HS256", signer.pem()),
        "not valid yet": signer.token(nbf=now + LEEWAY_S + 60),
        "issued in the future": signer.token(iat=now + LEEWAY_S + 60),
        "a name that can't be a principal's": signer.token(sub="a\nb"),
        "no name": signer.token(sub=None),
        "a principal signed for the core": sign_principal("ann", PRINCIPAL_KEY),
        "an API key, where none are accepted": API_KEY,
        "no JWT": "a.b.c",
    }
    settings = {**JWT, "auth": "jwt", "jwt_keys_file": tmp_path / "keys", "principal_key": PRINCIPAL_KEY}
    async with channel_to(**settings) as channel:
        for what, token in invalid.items():
            assert await refused(channel, bearing(token)) == ("UNAUTHENTICATED", "TOKEN_INVALID"), what
        expired = signer.token(exp=now - LEEWAY_S - 60)
        assert await refused(channel, bearing(expired)) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
        assert await refused(channel, (("authorization", "Basic YTpi"),)) == (
            "UNAUTHENTICATED",
            "CREDENTIALS_MISSING",
        )
        # Two clocks that differ by less than the leeway are one.
        # One with hundreds of roles fits into a call's metadata.
        for claims in (
            {"roles": ["role"] * 1000},
            {"exp": time.time() - 5},
            {"iat": time.time() + 5},
            {"nbf": time.time() + 5},
        ):
            assert await ask(channel, bearing(signer.token(**claims)))


async def test_whoever_is_known_to_the_edge_is_the_same_to_the_core(tmp_path: Path) -> None:
    """A run that is asked for over HTTP is followed over gRPC by the same user, and by no other."""
    signer = Signer("EdDSA")
    (tmp_path / "keys").write_bytes(signer.pem())
    both = {
        **JWT,
        "auth": "keys,jwt",
        "api_keys": ENTRY,
        "jwt_keys_file": tmp_path / "keys",
        "principal_key": PRINCIPAL_KEY,
    }
    async with (
        running_stack(both, **both) as stack,
        grpc.aio.insecure_channel(f"127.0.0.1:{stack.core.port}") as channel,
    ):
        stub = AgentServiceStub(channel)
        for bearer, name in ((API_KEY, "ann"), (signer.token(sub="ann"), "jwt:ann")):
            body = {"message": "a b", "sessionId": "s1", "agent": "echo"}
            headers = {"authorization": f"Bearer {bearer}"}
            answer = await stack.client.post("/api/chat", json=body, headers=headers)
            run_id = events_in(answer.text)[0]["runId"]
            signed = ((METADATA_KEY, sign_principal(name, PRINCIPAL_KEY)),)
            for proof in (bearing(bearer), signed):
                follow = stub.FollowRun(pb.FollowRunRequest(run_id=run_id), metadata=proof, timeout=BOUNDED_S)
                events = events_of([response async for response in follow])
                assert events[-1].done.final_message == "a b "
            stranger = bearing(signer.token(sub="bob"))
            assert await reason_for(channel, run_id, stranger) == "RUN_UNKNOWN"


async def test_a_core_that_accepts_no_bearers_says_so_and_takes_nobody_for_another() -> None:
    """On loopback, where all else is let in; beside a signed principal a proxy's bearer does not matter."""
    async with channel_to() as channel:
        assert await refused(channel, bearing(API_KEY)) == ("UNAUTHENTICATED", "BEARER_NOT_ACCEPTED")
        assert await ask(channel)
    async with channel_to(principal_key=PRINCIPAL_KEY) as channel:
        signed = ((METADATA_KEY, sign_principal("ann", PRINCIPAL_KEY)),)
        assert await refused(channel, bearing(API_KEY)) == ("UNAUTHENTICATED", "BEARER_NOT_ACCEPTED")
        run_id = await ask(channel, (*signed, *bearing("a-proxys-own")))
        assert await ask(channel, signed)
        assert await reason_for(channel, run_id, bearing("a-proxys-own")) == "BEARER_NOT_ACCEPTED"


async def test_with_mtls_a_wrong_bearer_does_not_become_the_certificates_name(tmp_path: Path) -> None:
    """Who sends a key means to be its owner; without one the certificate counts as ever."""
    authority = Authority(tmp_path)
    server, billing = authority.issue("core"), authority.issue("billing")
    settings = {
        "grpc_tls_cert": server.cert,
        "grpc_tls_key": server.key,
        "grpc_tls_client_ca": authority.file,
        "principal_key": PRINCIPAL_KEY,
        "auth": "keys",
        "api_keys": ENTRY,
    }
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), billing.key.read_bytes(), billing.cert.read_bytes()
    )
    async with (
        running_core(**settings) as core,
        grpc.aio.secure_channel(f"localhost:{core.port}", credentials) as channel,
    ):
        anns, billings = await ask(channel, bearing(API_KEY)), await ask(channel)
        assert await reason_for(channel, anns, ()) == "RUN_UNKNOWN"
        assert await reason_for(channel, billings, bearing(API_KEY)) == "RUN_UNKNOWN"
        assert await refused(channel, bearing("tw_wrong")) == ("UNAUTHENTICATED", "KEY_INVALID")


async def test_while_the_issuer_was_never_there_calls_wait_for_a_bounded_time() -> None:
    """UNAVAILABLE and when to come back, while health and API keys are served; then all is well."""
    signer = Signer("ES256")
    with publishing(signer) as issuer:
        issuer.hold.clear()
        settings = {**JWT, "auth": "keys,jwt", "api_keys": ENTRY, "jwt_jwks_url": issuer.url}
        async with channel_to(**settings) as channel:
            waiting = asyncio.create_task(refused(channel, bearing(signer.token())))
            assert await is_serving(channel)
            assert await ask(channel, bearing(API_KEY))
            assert await waiting == ("UNAVAILABLE", "ISSUER_AWAY")
            issuer.hold.set()
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert await ask(channel, bearing(signer.token()))
                        break
                    except grpc.aio.AioRpcError as error:
                        refusal = refusal_of(error)
                        assert (refusal.code, refusal.info.reason) == ("UNAVAILABLE", "ISSUER_AWAY")
                        assert refusal.retry.retry_delay.seconds >= 1
                        await asyncio.sleep(0.2)
            # The last keys stay in use, and the issuer's end is nobody's who has a known one.
            issuer.status = 500
            assert await ask(channel, bearing(signer.token()))


async def test_a_caller_who_leaves_while_the_issuer_is_asked_ends_it_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fetch goes on: whoever waits with him gets his answer from it."""
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 60)  # however slow the machine is
    signer = Signer("ES256")
    with publishing(signer) as issuer:
        issuer.hold.clear()
        async with channel_to(**JWT, auth="jwt", jwt_jwks_url=issuer.url) as channel:
            leaving = AgentServiceStub(channel).StreamRun(REQUEST, metadata=bearing(signer.token()))
            staying = asyncio.create_task(ask(channel, bearing(signer.token())))
            async with asyncio.timeout(BOUNDED_S):
                while not issuer.asked:
                    await asyncio.sleep(0.01)
            leaving.cancel()
            assert await is_serving(channel)  # what was sent before this has arrived
            issuer.hold.set()
            assert await staying
            assert issuer.asked == 1
