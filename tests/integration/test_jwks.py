"""An issuer's keys over HTTP, from a real server: changed, withdrawn, away, slow, and asked too often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
import pytest

from tests.support.issuer import Signer, publishing
from tokenwire.authentication import IssuerAwayError, jwks
from tokenwire.authentication.jwks import MAX_DOCUMENT_BYTES, JwksEndpoint, checked_url

OLD, NEW = Signer("ES256", "old"), Signer("ES256", "new")
PAUSE_S = 0.05


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def endpoint(
    url: str, *, pause_s: float = PAUSE_S, refresh_s: float = 300
) -> AsyncIterator[JwksEndpoint]:
    keys = JwksEndpoint(url, refresh_s=refresh_s, pause_s=pause_s)
    async with keys.running():
        yield keys


async def has(keys: JwksEndpoint, kid: str | None) -> bool:
    return await keys.find(kid, "ES256") is not None


async def until_it_has(keys: JwksEndpoint, kid: str, *, there: bool = True) -> None:
    """Ask until the answer is right: how long that takes depends on the machine."""

    async def answer() -> bool | None:
        try:
            return await has(keys, kid)
        except IssuerAwayError:
            return None  # nobody knows yet

    async with asyncio.timeout(20):
        while await answer() is not there:
            await asyncio.sleep(0.01)


async def unavailable(keys: JwksEndpoint, kid: str) -> None:
    with pytest.raises(IssuerAwayError) as caught:
        await keys.find(kid, "ES256")
    assert caught.value.retry_after_s >= 1


async def test_a_new_key_is_fetched_when_a_token_names_it_and_the_old_one_ends_with_it() -> None:
    """Nobody waits for the next refresh, five minutes later."""
    with publishing(OLD) as issuer:
        async with endpoint(issuer.url) as keys:
            assert await has(keys, "old")
            issuer.publish(NEW)
            await until_it_has(keys, "new")
            assert not await has(keys, "old")


async def test_a_withdrawn_key_ends_without_anybody_asking_for_another() -> None:
    """The set is fetched anew by itself, however few requests there are."""
    with publishing(OLD, NEW) as issuer:
        async with endpoint(issuer.url, refresh_s=0.05) as keys:
            await until_it_has(keys, "old")
            issuer.publish(NEW)
            await until_it_has(keys, "old", there=False)


async def test_a_flood_of_unknown_keys_is_one_fetch_a_pause() -> None:
    """However many tokens come: the issuer is asked once at the start, then once a pause."""
    pause_s = 0.5
    with publishing(OLD) as issuer:
        async with endpoint(issuer.url, pause_s=pause_s) as keys:
            assert await has(keys, "old")
            began = time.monotonic()
            for _ in range(20):
                found = await asyncio.gather(*(has(keys, f"kid {number}") for number in range(100)))
                assert not any(found)
                assert await has(keys, "old")
            assert issuer.asked <= 2 + (time.monotonic() - began) / pause_s


async def test_the_last_good_set_stays_while_the_issuer_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Known keys go on; an unknown one can't be judged and is not called invalid. The log says it once."""
    with publishing(OLD) as issuer:
        async with endpoint(issuer.url, refresh_s=0.05) as keys:
            await until_it_has(keys, "old")
            issuer.status = 500
            while "can't be fetched" not in caplog.text:
                await asyncio.sleep(0.01)
            asked = issuer.asked
            await unavailable(keys, "new")
            while issuer.asked < asked + 3:
                assert await has(keys, "old")
                await asyncio.sleep(0.01)
            assert caplog.text.count("can't be fetched") == 1
            assert "the last ones stay in use" in caplog.text
            caplog.set_level(logging.INFO)
            issuer.publish(NEW)
            async with asyncio.timeout(20):
                while "can be fetched again" not in caplog.text:
                    await asyncio.sleep(0.01)
            await until_it_has(keys, "new")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>sign in</html>"),
        (200, b'{"keys": []}'),
        (200, b" " * (MAX_DOCUMENT_BYTES + 1)),
        (302, b""),
        (404, b"{}"),
    ],
    ids=["no JSON", "no keys", "huge", "elsewhere", "missing"],
)
async def test_without_any_set_nothing_can_be_told(status: int, body: bytes) -> None:
    """That is the server's trouble, not the token's; and it passes by itself."""
    with publishing() as issuer:
        issuer.status, issuer.body = status, body
        async with endpoint(issuer.url) as keys:
            await unavailable(keys, "old")
            issuer.publish(OLD)
            await until_it_has(keys, "old")


async def test_nobody_listening_is_told_likewise() -> None:
    """A refused connection, as while the issuer starts."""
    with publishing(OLD) as issuer:
        url = issuer.url
    async with endpoint(url) as keys:
        await unavailable(keys, "old")


async def test_a_slow_issuer_holds_up_only_those_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known keys are found while a fetch is under way, and who gives up waiting for it does not end it."""
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 1000)
    with publishing(OLD) as issuer:
        async with endpoint(issuer.url) as keys:
            assert await has(keys, "old")
            await asyncio.sleep(PAUSE_S)
            issuer.publish(OLD, NEW)
            issuer.hold.clear()
            impatient, patient = (asyncio.create_task(has(keys, "new")) for _ in range(2))
            while issuer.asked < 2:
                await asyncio.sleep(0.01)
                assert await has(keys, "old")
            impatient.cancel()
            assert not patient.done()
            issuer.hold.set()
            assert await patient
            assert impatient.cancelled()
            assert issuer.asked == 2


async def test_the_end_waits_for_no_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that shuts down does not hang on a fetch, however long one may take."""
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 1000)
    with publishing(OLD) as issuer:
        issuer.hold.clear()
        async with endpoint(issuer.url) as keys:
            waiting = asyncio.create_task(keys.find("old", "ES256"))
            while issuer.asked < 1:
                await asyncio.sleep(0.01)
        with pytest.raises(IssuerAwayError):
            await waiting


@pytest.mark.parametrize(
    "url", ["", "issuer.example", "file:///etc/passwd", "ftp://x/y", "https://", "http://[::1"]
)
def test_only_addresses_of_http_are_taken(url: str) -> None:
    """Anything else is a mistake in the settings."""
    with pytest.raises(ValueError, match="TOKENWIRE_JWT_JWKS_URL"):
        checked_url(url)


async def test_a_token_of_a_fetched_key_verifies() -> None:
    """What is found is the key itself."""
    with publishing(OLD) as issuer:
        async with endpoint(issuer.url) as keys:
            key = await keys.find("old", "ES256")
            assert key is not None
            assert (
                jwt.decode(OLD.token(), key, algorithms=["ES256"], audience="tokenwire-tests")["sub"]
                == "alice"
            )
