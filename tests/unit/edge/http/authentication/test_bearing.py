"""How the edge answers what the shared checks of bearers say."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest

from edge.errors import EdgeError, UnauthenticatedError
from edge.http.authentication.contract import bearing_principal
from tokenwire.authentication import CredentialsError, IssuerAwayError


class Refusing:
    """Refuses every bearer in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def principal_of(self, authorization: str) -> str:  # noqa: ARG002 # every one
        raise self._error

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        ("CREDENTIALS_MISSING", "Bearer"),
        ("KEY_INVALID", 'Bearer error="invalid_token"'),
        ("TOKEN_INVALID", 'Bearer error="invalid_token"'),
        ("TOKEN_EXPIRED", 'Bearer error="invalid_token"'),
    ],
)
async def test_a_refused_bearer_is_a_401_with_a_challenge(reason: str, challenge: str) -> None:
    """The challenge has an error only where there was a bearer (RFC 6750)."""
    with pytest.raises(UnauthenticatedError) as caught:
        await bearing_principal(Refusing(CredentialsError("No.", reason, "why")), "Bearer x")
    assert (caught.value.http_status, caught.value.message) == (401, "No.")
    assert (caught.value.details, caught.value.challenge) == ({"reason": reason}, challenge)


async def test_why_a_token_was_refused_stands_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The client is told nothing of it; of a wrong API key there is nothing to say."""
    caplog.set_level(logging.INFO)
    for why in ("Audience doesn't match", ""):
        with pytest.raises(UnauthenticatedError) as caught:
            await bearing_principal(Refusing(CredentialsError("No.", "TOKEN_INVALID", why)), "Bearer x")
        assert "udience" not in str(caught.value)
    assert [record.getMessage() for record in caplog.records] == [
        "a token was refused: Audience doesn't match"
    ]


async def test_an_issuer_that_is_away_is_a_503_with_a_time_to_come_back() -> None:
    """Nobody is called invalid for it."""
    with pytest.raises(EdgeError) as caught:
        await bearing_principal(Refusing(IssuerAwayError(3.5)), "Bearer x")
    assert not isinstance(caught.value, UnauthenticatedError)
    assert (caught.value.http_status, caught.value.retry_after_s) == (503, 3.5)
