"""Signed principals."""

from __future__ import annotations

import time

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.pairs import Pair, confusable
from tokenwire.principal import (
    ALGORITHM,
    API_KEY_NAME,
    AUDIENCE,
    LIFETIME_S,
    MAX_NAME_BYTES,
    PrincipalClockError,
    PrincipalError,
    owned_key,
    require_name,
    require_separation,
    sign_principal,
    verify_principal,
)

KEY = "k" * 32
CLAIMS = {"sub": "alice", "aud": AUDIENCE, "iat": 0, "exp": 2**34}


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
        token(exp=10**400),
        jwt.encode(CLAIMS, "", "none"),
    ],
    ids=[
        "empty", "garbage", "other key", "expired", "audience", "no sub", "empty sub", "no exp", "endless",
        "unsigned",
    ],
)  # fmt: skip
def test_what_was_not_signed_here_and_now_for_this_proves_nothing(forged: str) -> None:
    """A forged, stale, foreign or unsigned token is no principal."""
    with pytest.raises(PrincipalError):
        verify_principal(forged, KEY)


@pytest.mark.parametrize("shift_s", [-600, -80, 30, 3600])
def test_a_sound_token_of_another_time_tells_how_far_the_clocks_are_apart(shift_s: int) -> None:
    """Its caller has the key: it is a clock that has to be set."""
    now = int(time.time())
    with pytest.raises(PrincipalClockError) as raised:
        verify_principal(token(iat=now + shift_s, exp=now + shift_s + LIFETIME_S), KEY)
    assert abs(raised.value.difference_s - shift_s) <= 5
    assert ("ahead of" if shift_s > 0 else "behind") in str(raised.value)


@pytest.mark.parametrize("shift_s", [-55, 5])
def test_clocks_may_differ_by_a_little(shift_s: int) -> None:
    """A call takes its time, too."""
    now = int(time.time())
    shifted = token(iat=now + shift_s, exp=now + shift_s + LIFETIME_S)
    assert verify_principal(shifted, KEY) == "alice"


@pytest.mark.parametrize("shift_s", [-600, 600])
def test_a_forged_token_is_told_nothing_of_clocks(shift_s: int) -> None:
    """Its time is not even looked at before its signature is found good."""
    now = int(time.time())
    forged = token("o" * 32, iat=now + shift_s, exp=now + shift_s + LIFETIME_S)
    with pytest.raises(PrincipalError) as raised:
        verify_principal(forged, KEY)
    assert not isinstance(raised.value, PrincipalClockError)


def test_a_time_beyond_all_clocks_is_refused_as_well() -> None:
    """Numbers that no date has."""
    with pytest.raises(PrincipalClockError):
        verify_principal(token(iat=10**400, exp=10**400), KEY)


UNFIT = [
    "",
    " ",
    "\u00a0",
    " alice",
    "alice ",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x00b",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "\ud800",
    "a\u202eb",  # right-to-left override
    "a\u2066b",  # left-to-right isolate
    "a\u200bb",  # zero-width space
    "a\u200db",  # zero-width joiner
    "a\u00adb",  # soft hyphen
    "a\ue000b",  # private use
    "x" * (MAX_NAME_BYTES + 1),
    "é" * (MAX_NAME_BYTES // 2 + 1),
]


@pytest.mark.parametrize("name", UNFIT, ids=ascii)
def test_a_name_that_could_break_a_key_or_a_log_line_is_no_principal(name: str) -> None:
    """It is neither signed nor taken from a token that somebody else has signed."""
    with pytest.raises(PrincipalError, match="the name"):
        sign_principal(name, KEY)
    with pytest.raises(PrincipalError, match="the name"):
        verify_principal(token(sub=name), KEY)


@pytest.mark.parametrize("name", [None, 7, True, ["alice"], {"name": "alice"}, b"alice"], ids=ascii)
def test_what_is_not_text_is_no_name(name: object) -> None:
    """Claims can be of any type."""
    with pytest.raises(PrincipalError, match="not text"):
        require_name(name)


@pytest.mark.parametrize(
    "name", ["alice", "jwt:alice", "Åsa Öberg", "王小明", "DOMAIN\\ann", "auth0|5f7c", "x" * MAX_NAME_BYTES]
)
def test_any_other_name_is_kept_as_it_is(name: str) -> None:
    """Nothing is folded, cut or trimmed, so that two names stay two."""
    assert verify_principal(sign_principal(name, KEY), KEY) == name


@given(st.from_regex(API_KEY_NAME, fullmatch=True))
def test_the_owner_of_an_api_key_is_always_a_principal(name: str) -> None:
    """The edge signs its name for the core."""
    assert require_name(name) == name


@given(confusable())
def test_two_pairs_never_have_one_key(pairs: tuple[Pair, Pair]) -> None:
    """Also where a name holds what separates the two parts."""
    one, other = pairs
    assume(one != other)
    assert owned_key(*one) != owned_key(*other)


def test_the_key_of_a_principal_is_what_it_always_was() -> None:
    """Cores of two versions on one store must know each other's requests."""
    assert owned_key("DOMAIN\\ann", "r\n1") == "DOMAIN\\ann\nr\n1"


@pytest.mark.parametrize(
    ("proof", "key", "shared_owner"), [("", "", False), ("", "", True), ("x", KEY, False)]
)
def test_users_are_one_owner_where_that_was_said_or_nobody_proves_who_he_is(
    proof: str, key: str, *, shared_owner: bool
) -> None:
    """Without authentication there is only one user anyway."""
    require_separation(proof, key=key, shared_owner=shared_owner)
    require_separation("TOKENWIRE_AUTH=keys", key="", shared_owner=True)


def test_a_common_owner_is_never_guessed() -> None:
    """The key that is missing is named with the way to make one; two settings that contradict are refused."""
    with pytest.raises(ValueError, match=r"TOKENWIRE_AUTH=keys needs TOKENWIRE_PRINCIPAL_KEY.*secrets"):
        require_separation("TOKENWIRE_AUTH=keys", key="", shared_owner=False)
    for proof in ("", "TOKENWIRE_AUTH=keys"):
        with pytest.raises(ValueError, match="contradicts"):
            require_separation(proof, key=KEY, shared_owner=True)
