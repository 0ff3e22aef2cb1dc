"""JWTs at the real edge: whose runs are whose, and what the answers say."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from edge.app import create_app
from edge.settings import EdgeSettings
from tests.support.issuer import AUDIENCE, ISSUER, Signer, jwks, publishing
from tests.support.sse_reader import events_of
from tests.support.stack import Stack, running_stack
from tokenwire.authentication.jwks import PAUSE_S

KEY = "tw_a-long-random-key"
ENTRY = f"alice sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
PRINCIPAL_KEY = "p" * 32
JWT = {"auth": "jwt", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "principal_key": PRINCIPAL_KEY}
CORE = {"principal_key": PRINCIPAL_KEY}
BODY = {"message": "a b", "sessionId": "s1", "agent": "echo"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def status(stack: Stack, token: str) -> int:
    """Return how a question with this token is answered."""
    return (await stack.client.post("/api/chat", json=BODY, headers=bearing(token))).status_code


async def test_a_run_belongs_to_its_tokens_subject() -> None:
    """Also when the token is another one of the same subject; for any other the run does not exist."""
    signer = Signer("RS256")
    with publishing(signer) as issuer:
        async with running_stack(CORE, **JWT, jwt_jwks_url=issuer.url) as stack:
            alice, again, bob = (
                bearing(signer.token(sub=name, n=n)) for n, name in enumerate(["alice", "alice", "bob"])
            )
            events = events_of((await stack.client.post("/api/chat", json=BODY, headers=alice)).text)
            assert events[-1]["finalMessage"] == "a b "
            path = f"/api/runs/{events[0]['runId']}"
            assert (await stack.client.get(path, headers=again)).json()["state"] == "ended"
            assert (await stack.client.get(f"{path}/events", headers=again)).status_code == 200
            for answer in (
                await stack.client.get(path, headers=bob),
                await stack.client.get(f"{path}/events", headers=bob),
                await stack.client.post(f"{path}/cancel", headers=bob),
                await stack.client.post(f"{path}/ticket", headers=bob),
            ):
                assert answer.status_code == 404


async def test_a_refused_token_is_answered_as_the_rfc_says(caplog: pytest.LogCaptureFixture) -> None:
    """401, a problem document and a challenge; why it was refused stands in the log alone."""
    caplog.set_level(logging.INFO)
    signer = Signer("EdDSA")
    with publishing(signer) as issuer:
        async with running_stack(CORE, **JWT, jwt_jwks_url=issuer.url) as stack:
            answers = [
                await stack.client.post("/api/chat", json=BODY, headers=bearing(token))
                for token in (signer.token(aud="x"), signer.token(exp=1), "not.a.token", KEY, "x" * 20_000)
            ]
            missing = await stack.client.post("/api/chat", json=BODY)
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer error="invalid_token"'}
    reasons = [answer.json()["details"]["reason"] for answer in answers]
    assert reasons == ["TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_INVALID", "TOKEN_INVALID"]
    assert not any("udience" in answer.text for answer in answers)
    assert "Audience doesn't match" in caplog.text
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")


async def test_keys_and_tokens_open_one_edge_and_stay_two_principals() -> None:
    """The key's alice and the issuer's alice see none of each other's runs."""
    signer = Signer("ES256")
    settings = JWT | {"auth": "jwt, keys", "api_keys": ENTRY}
    with publishing(signer) as issuer:
        async with running_stack(CORE, **settings, jwt_jwks_url=issuer.url) as stack:
            by_key, by_token = bearing(KEY), bearing(signer.token(sub="alice"))
            for mine, theirs in ((by_key, by_token), (by_token, by_key)):
                events = events_of((await stack.client.post("/api/chat", json=BODY, headers=mine)).text)
                path = f"/api/runs/{events[0]['runId']}"
                assert (await stack.client.get(path, headers=mine)).status_code == 200
                assert (await stack.client.get(path, headers=theirs)).status_code == 404
            assert await status(stack, KEY + "x") == 401
            assert await status(stack, signer.token(aud="x")) == 401


async def test_keys_from_a_file_need_no_issuer(tmp_path: Path) -> None:
    """JWKS, or one public key in PEM."""
    signer = Signer("ES256")
    file = tmp_path / "keys"
    for content in (jwks(signer), signer.pem()):
        file.write_bytes(content)
        async with running_stack(CORE, **JWT, jwt_keys_file=file) as stack:
            assert await status(stack, signer.token()) == 200
            assert await status(stack, Signer("ES256").token()) == 401


async def test_the_issuers_key_change_and_outage_are_lived_through() -> None:
    """A new key is taken within seconds; an issuer that goes away then locks nobody out."""
    old, new = Signer("ES256", "old"), Signer("RS256", "new")
    with publishing(old) as issuer:
        async with running_stack(CORE, **JWT, jwt_jwks_url=issuer.url) as stack:
            assert await status(stack, old.token()) == 200
            issuer.publish(new)
            async with asyncio.timeout(30):
                while (answered := await status(stack, new.token())) != 200:
                    assert answered == 401, "the pause after the last fetch is not over"
                    await asyncio.sleep(0.2)
            assert await status(stack, old.token()) == 401
            issuer.status = 500
            assert await status(stack, new.token()) == 200


async def test_while_the_issuer_was_never_there_nobody_is_called_invalid() -> None:
    """503 and when to come back, while the process lives and answers; then all is well."""
    signer = Signer("ES256")
    with publishing(signer) as issuer:
        issuer.hold.clear()
        async with running_stack(CORE, **JWT, jwt_jwks_url=issuer.url) as stack:
            asking = asyncio.create_task(
                stack.client.post("/api/chat", json=BODY, headers=bearing(signer.token()))
            )
            assert (await stack.client.get("/health/live")).status_code == 200
            answer = await asking
            assert answer.status_code == 503
            assert answer.json()["code"] == "UNAVAILABLE"
            assert int(answer.headers["retry-after"]) >= 1
            assert "www-authenticate" not in answer.headers
            issuer.hold.set()
            async with asyncio.timeout(60):
                while await status(stack, signer.token()) != 200:
                    await asyncio.sleep(0.2)


async def test_a_flood_of_unknown_keys_reaches_the_issuer_hardly_at_all() -> None:
    """Hundreds of requests with made-up keys cost the issuer one question or two, and the honest nothing."""
    signer, stranger = Signer("ES256"), Signer("ES256", "made up")
    with publishing(signer) as issuer:
        async with running_stack(CORE, **JWT, jwt_jwks_url=issuer.url) as stack:
            assert await status(stack, signer.token()) == 200
            path = f"/api/runs/{'a' * 30}"
            began = time.monotonic()
            flood = [
                stack.client.get(path, headers=bearing(stranger.token(headers={"kid": f"k{number}"})))
                for number in range(300)
            ]
            answers, honest = await asyncio.gather(asyncio.gather(*flood), status(stack, signer.token()))
            assert {answer.status_code for answer in answers} == {401}
            assert honest == 200
            assert issuer.asked <= 2 + (time.monotonic() - began) / PAUSE_S


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs TOKENWIRE_JWT_ISSUER"),
        ({"jwt_issuer": "i"}, "needs TOKENWIRE_JWT_AUDIENCE"),
        ({"jwt_issuer": "i", "jwt_audience": "a"}, "set one of"),
        (
            {"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_url": "http://x", "jwt_keys_file": "y"},
            "set one of",
        ),
        ({"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_url": "x"}, "https://"),
        (
            {"auth": "keys,jwt", "jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_url": "http://x"},
            "no API keys",
        ),
        ({"auth": "keys,jwt", "api_keys": ENTRY}, "needs TOKENWIRE_JWT_ISSUER"),
        ({"auth": "none,jwt"}, "must be none, or one or several of keys, jwt"),
        ({"auth": "jwt,jwt"}, "must be none, or one or several of keys, jwt"),
        ({"auth": ""}, "must be none, or one or several of keys, jwt"),
        ({"ticket_key": "short"}, "at least 32 bytes"),
        ({"ticket_lifetime_s": 1e9}, "less than or equal to 3600"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused_at_the_start(
    settings: dict[str, Any], message: str
) -> None:
    """Without issuer, audience or keys a token proves nothing."""
    with pytest.raises(ValueError, match=message):
        create_app(EdgeSettings(**({"auth": "jwt", "principal_key": PRINCIPAL_KEY} | settings)))


def test_a_missing_file_of_keys_is_told(tmp_path: Path) -> None:
    """With the variable and the system's own words."""
    settings = EdgeSettings(**JWT, jwt_keys_file=tmp_path / "missing")
    with pytest.raises(ValueError, match=r"TOKENWIRE_JWT_KEYS_FILE=.*missing: No such file"):
        create_app(settings)
