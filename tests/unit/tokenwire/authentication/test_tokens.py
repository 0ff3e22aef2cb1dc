"""Which tokens prove somebody, and whom."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.http.authentication.tickets import Tickets
from tests.support.issuer import AUDIENCE, ISSUER, KINDS, Kind, Signer, jwks
from tokenwire.authentication import CredentialsError, IssuerAwayError
from tokenwire.authentication.api_keys import ApiKeys, hash_of
from tokenwire.authentication.bearer import AnyMethod
from tokenwire.authentication.jwks import JwksEndpoint
from tokenwire.authentication.key_set import read_jwks
from tokenwire.authentication.tokens import MAX_TOKEN_CHARS, JwtRules, JwtTokens, looks_like_jwt
from tokenwire.principal import sign_principal

SIGNERS = {kind: Signer(kind, f"key of {kind}") for kind in KINDS}
RSA, EC = SIGNERS["RS256"], SIGNERS["ES256"]
KEYS = read_jwks(jwks(*SIGNERS.values()))[0]
RULES = JwtRules(ISSUER, AUDIENCE)
NOW = time.time()
DAY_S = 86_400


async def principal(token: str, rules: JwtRules = RULES) -> str:
    return await JwtTokens(KEYS, rules).principal_of(f"Bearer {token}")


async def refusal(token: str, rules: JwtRules = RULES) -> CredentialsError:
    """Return how a token is refused."""
    with pytest.raises(CredentialsError) as caught:
        await principal(token, rules)
    assert caught.value.presented
    assert caught.value.message in {"The token is not valid.", "The token has expired."}
    assert caught.value.why
    return caught.value


async def refused(token: str, rules: JwtRules = RULES) -> str:
    """Return the reason with which a token is refused."""
    return (await refusal(token, rules)).reason


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """Return a token put together by hand: unsigned, or signed with HMAC."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    text = b".".join(parts)
    signature = hmac.digest(secret, text, hashlib.sha256) if secret is not None else b""
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + DAY_S}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_valid_token_proves_its_subject(kind: Kind) -> None:
    """By every algorithm that is allowed; the principal can't be the name of an API key."""
    assert await principal(SIGNERS[kind].token()) == "jwt:alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": 10**400},
        {"iss": None},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"aud": None},
        {"aud": "another service"},
        {"aud": ["another", "service"]},
        {"aud": {AUDIENCE: 1}},
        {"nbf": NOW + DAY_S},
        {"iat": NOW + DAY_S},
    ],
    # The same at each collection: workers that collect other names than their neighbours refuse to work.
    ids=lambda claims: str(claims).replace(str(NOW + DAY_S), "tomorrow"),
)
async def test_a_token_that_says_the_wrong_thing_is_refused(claims: dict[str, Any]) -> None:
    """Issuer, audience and expiry must be there and right; one for later is not for now."""
    if isinstance(claims.get("iss"), list):
        token = forged({"alg": "ES256", "kid": EC.kid}, CLAIMS | claims)  # the library makes none such
    else:
        token = EC.token(**claims)
    assert await refused(token) == "TOKEN_INVALID"


async def test_an_expired_token_is_told_to_be_expired() -> None:
    """So that a client gets a new one; within the leeway it still counts."""
    token = EC.token(exp=time.time() - 60)
    assert await refused(token) == "TOKEN_EXPIRED"
    assert await principal(token, JwtRules(ISSUER, AUDIENCE, leeway_s=600)) == "jwt:alice"
    early = EC.token(nbf=time.time() + 300, iat=time.time() + 300)
    assert await refused(early) == "TOKEN_INVALID"
    assert await principal(early, JwtRules(ISSUER, AUDIENCE, leeway_s=600)) == "jwt:alice"


async def test_the_log_names_the_clock_of_an_issuer_that_is_ahead() -> None:
    """The client can't mend it; the operator can, by the clock or by the leeway."""
    early = await refusal(EC.token(iat=time.time() + 300))
    assert early.reason == "TOKEN_INVALID"
    assert "clock is ahead of this one by more than 30 s (TOKENWIRE_JWT_LEEWAY_S)" in early.why


async def test_a_forged_expired_token_is_only_invalid() -> None:
    """Nothing that a token says is believed, or answered, before its signature was checked."""
    assert await refused(Signer("ES256", EC.kid).token(exp=NOW - 60)) == "TOKEN_INVALID"


async def test_one_of_several_audiences_is_enough() -> None:
    """As issuers write it for tokens that open more than one service."""
    assert await principal(EC.token(aud=["another", AUDIENCE])) == "jwt:alice"


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "", "HS256", "HS384", "RS512", "PS256", "ES384", "ES256K"]
)
async def test_other_algorithms_are_refused_whoever_signs(name: str) -> None:
    """Unsigned, and signed with the public key as if it were a secret."""
    header = {"alg": name, "typ": "JWT", "kid": RSA.kid}
    for secret in (None, b"", RSA.pem(), jwks(RSA), json.dumps(RSA.jwk()).encode()):
        assert await refused(forged(header, CLAIMS, secret)) == "TOKEN_INVALID"


async def test_for_another_algorithm_no_issuer_is_asked() -> None:
    """It is refused as it is: an issuer that is away makes no 503 of it, and it can't make anybody ask."""
    away = JwtTokens(JwksEndpoint("http://127.0.0.1:9/jwks.json", refresh_s=300), RULES)
    for name in ("none", "HS256"):
        with pytest.raises(CredentialsError):
            await away.principal_of(f"Bearer {forged({'alg': name, 'kid': 'k1'}, CLAIMS, b'x' * 32)}")
    with pytest.raises(IssuerAwayError):
        await away.principal_of(f"Bearer {EC.token()}")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_checks_no_other_algorithm(kind: Kind) -> None:
    """A token that names one kind's key and another kind's algorithm finds none, however it is signed."""
    for other in KINDS:
        if other != kind:
            header = {"alg": kind, "kid": SIGNERS[other].kid}
            assert await refused(forged(header, CLAIMS, RSA.pem())) == "TOKEN_INVALID"
            assert await refused(SIGNERS[kind].token(headers={"kid": SIGNERS[other].kid})) == "TOKEN_INVALID"


async def test_a_stranger_with_the_right_key_id_is_refused() -> None:
    """Also when the token brings its own key along, or says where to get it."""
    stranger = Signer("ES256", EC.kid)
    for headers in ({}, {"jwk": stranger.jwk()}, {"jku": "http://127.0.0.1:9/jwks.json"}, {"x5c": ["AAAA"]}):
        assert await refused(stranger.token(headers=headers)) == "TOKEN_INVALID"


async def test_extensions_that_must_be_understood_are_not_passed_over() -> None:
    """A token whose `crit` names what nobody here knows is refused."""
    assert await refused(EC.token(headers={"crit": ["exp-policy"], "exp-policy": 1})) == "TOKEN_INVALID"


async def test_our_own_signatures_are_no_tokens() -> None:
    """Neither a ticket nor a principal's proof for the core logs anybody in."""
    key = "k" * 32
    ticket = Tickets(key.encode(), lifetime_s=60).issue("jwt:alice", "r" * 30).text
    assert await refused(ticket) == "TOKEN_INVALID"
    assert await refused(sign_principal("jwt:alice", key)) == "TOKEN_INVALID"


async def test_a_huge_token_is_not_decoded() -> None:
    """It is refused by its length; one with many roles passes."""
    assert await principal(EC.token(roles=["role"] * 1000)) == "jwt:alice"
    assert await refused(EC.token(roles="x" * MAX_TOKEN_CHARS)) == "TOKEN_INVALID"
    assert await refused("x" * 10_000_000) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "a\nb",
        "a\r",
        "a\x00b",
        "a\x7f",
        "a\u2028b",
        "a\u202eb",
        "a\u200db",
        "\ud800",
        "x" * 256,
        "jwt:" + "x" * 252,
        "é" * 128,
        7,
        ["a"],
        None,
    ],
    ids=repr,
)
async def test_a_name_that_could_break_a_key_or_a_log_is_refused(name: Any) -> None:
    """The rule is that of all principals: see `require_name`. The prefix counts in its length."""
    rules = JwtRules(ISSUER, AUDIENCE, principal_claim="user")
    assert await refused(EC.token(user=name), rules) == "TOKEN_INVALID"


async def test_any_printable_name_of_bounded_length_is_taken() -> None:
    """As it is: nothing is folded, cut or trimmed, so that two names stay two."""
    rules = JwtRules(ISSUER, AUDIENCE, principal_claim="email")
    for name in ("ann@example.com", "Åsa Öberg", "auth0|5f7c8ec7c33c6c004bbafe82", "x" * 255, "王小明"):
        assert await principal(EC.token(email=name), rules) == f"jwt:{name}"


async def test_the_log_is_told_why_and_no_token() -> None:
    """The client is told nothing of it."""
    token = Signer("ES256", "no such key").token()
    unknown = await refusal(token)
    assert "the issuer has no ES256 key 'no such key'" in unknown.why
    assert "Audience doesn't match" in (await refusal(EC.token(aud="x"))).why
    assert token not in str(unknown)


@settings(deadline=None)
@given(place=st.floats(0, 0.999), byte=st.characters(max_codepoint=255), cut=st.booleans())
async def test_a_damaged_token_is_refused_in_one_way(place: float, byte: str, cut: bool) -> None:
    """Whatever becomes of it on its way, there is one answer and no other exception."""
    token = TOKEN
    at = int(place * len(token))
    damaged = token[:at] if cut else token[:at] + byte + token[at + 1 :]
    if damaged.strip() != token and damaged.strip():
        assert await refused(damaged) == "TOKEN_INVALID"


TOKEN = EC.token(exp=NOW + DAY_S)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic YTpi", "bearer"])
async def test_without_a_bearer_nothing_is_called_invalid(header: str) -> None:
    """So that a challenge has no error then: https://www.rfc-editor.org/rfc/rfc6750#section-3.1."""
    for authenticator in (
        JwtTokens(KEYS, RULES),
        ApiKeys({}),
        AnyMethod(JwtTokens(KEYS, RULES), ApiKeys({})),
    ):
        with pytest.raises(CredentialsError) as caught:
            await authenticator.principal_of(header)
        assert (caught.value.presented, caught.value.reason) == (False, "CREDENTIALS_MISSING")


async def test_keys_and_tokens_are_told_apart_by_their_form() -> None:
    """A key with dots is a key; a token that is not valid is not tried as a key."""
    names = {hash_of("tw_key"): "alice", hash_of("a.b.c"): "dotted", hash_of(TOKEN): "never"}
    both = AnyMethod(JwtTokens(KEYS, JwtRules(ISSUER, "another")), ApiKeys(names))
    assert await both.principal_of("Bearer tw_key") == "alice"
    assert await both.principal_of("Bearer a.b.c") == "dotted"
    for bearer, reason in (
        (TOKEN, "TOKEN_INVALID"),
        ("x.y.z", "KEY_INVALID"),
        ("x" * 20_000, "TOKEN_INVALID"),
    ):
        with pytest.raises(CredentialsError) as caught:
            await both.principal_of(f"Bearer {bearer}")
        assert caught.value.reason == reason
    assert looks_like_jwt(TOKEN)
    assert not looks_like_jwt("tw_" + "a" * 40)


async def test_an_api_keys_name_is_never_a_tokens() -> None:
    """Who may call themselves `alice` at the issuer is not the key's alice."""
    both = AnyMethod(JwtTokens(KEYS, RULES), ApiKeys({hash_of("tw_key"): "alice"}))
    assert await both.principal_of("Bearer tw_key") != await both.principal_of(f"Bearer {TOKEN}")


def test_the_library_checks_what_we_rely_on() -> None:
    """Its own allow-list holds when the key is given as a JWK: an upgrade that changes it fails here."""
    key = KEYS.key(RSA.kid, "RS256")
    assert key is not None
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(forged({"alg": "HS256"}, CLAIMS, RSA.pem()), key, algorithms=["RS256"], audience=AUDIENCE)
