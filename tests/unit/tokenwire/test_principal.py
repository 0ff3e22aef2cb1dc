"""Signed principals."""

from __future__ import annotations

import time

import jwt
import pytest

from tokenwire.principal import ALGORITHM, AUDIENCE, PrincipalError, sign_principal, verify_principal

KEY = "k" * 32
CLAIMS = {"sub": "alice", "aud": AUDIENCE, "iat": 0, "exp": 2**40}


def token(key: str = KEY, algorithm: str = ALGORITHM, **claims: object) -> str:
    return jwt.encode(
        {name: value for name, value in (CLAIMS | claims).items() if value is not None}, key, algorithm
    )


def test_what_was_signed_is_verified() -> None:
    """The core learns on whose behalf the edge calls."""
    assert verify_principal(sign_principal("alice", KEY), KEY) == "alice"


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "x.y.z",
        sign_principal("alice", "o" * 32),
        token(exp=int(time.time()) - 60),
        token(aud="another"),
        token(sub=None),
        token(sub=""),
        token(exp=None),
        jwt.encode(CLAIMS, "", "none"),
    ],
    ids=["empty", "garbage", "other key", "expired", "audience", "no sub", "empty sub", "no exp", "unsigned"],
)
def test_what_was_not_signed_here_and_now_for_this_proves_nothing(forged: str) -> None:
    """A forged, stale, foreign or unsigned token is no principal."""
    with pytest.raises(PrincipalError):
        verify_principal(forged, KEY)
