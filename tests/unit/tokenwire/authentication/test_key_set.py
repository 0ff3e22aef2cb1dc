"""Which keys of an issuer are used, and for what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.issuer import KINDS, Kind, Signer, jwks
from tokenwire.authentication.key_set import KeySet, read_jwks, read_key_file, read_pem

SIGNERS = {kind: Signer(kind) for kind in KINDS}


def reading(*entries: Any) -> KeySet:
    return read_jwks(json.dumps({"keys": entries}))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_found_by_its_id_and_for_its_own_algorithm_alone(kind: Kind) -> None:
    """Whatever a token says, an RSA key checks RS256 and nothing else."""
    keys = reading(SIGNERS[kind].jwk())
    assert keys.key("k1", kind) is not None
    assert keys.key("k2", kind) is None
    assert all(keys.key("k1", other) is None for other in ("HS256", "none", *KINDS) if other != kind)


@pytest.mark.parametrize("kind", KINDS)
def test_without_alg_the_kind_of_the_key_decides(kind: Kind) -> None:
    """Issuers may leave it out."""
    entry = SIGNERS[kind].jwk()
    del entry["alg"], entry["use"]
    assert reading(entry).key("k1", kind) is not None


def test_a_token_without_an_id_gets_the_only_key_there_is() -> None:
    """Of two, none: guessing is not checking."""
    one, two = Signer("ES256", "a"), Signer("ES256", "b")
    assert read_jwks(jwks(one, SIGNERS["RS256"]))[0].key(None, "ES256") is not None
    assert read_jwks(jwks(one, two))[0].key(None, "ES256") is None
    nameless = Signer("ES256", None)
    assert read_jwks(jwks(nameless))[0].key("any", "ES256") is not None


SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 # too small is what it is for
EC, RSA = SIGNERS["ES256"], SIGNERS["RS256"]


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw", "kid": "k1", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw", "kid": "k1", "alg": "RS256"},
        RSA.jwk(alg="HS256"),
        RSA.jwk(alg="RS512"),
        RSA.jwk(alg="ES256"),
        RSA.jwk(alg=["RS256"]),
        RSA.jwk(use="enc"),
        RSA.jwk(key_ops=["encrypt"]),
        RSA.jwk(key_ops=7),
        RSA.jwk(kid=7),
        RSA.jwk(n="AQAB"),
        RSA.jwk(n=7),
        RSA.jwk(d="AQAB"),
        Signer("RS256", key=SMALL).jwk(),
        Signer("ES256", key=ec.generate_private_key(ec.SECP384R1())).jwk(),
        EC.jwk(crv="P-384"),
        EC.jwk(alg="EdDSA"),
        EC.jwk(x=EC.jwk()["y"]),
        Signer("EdDSA", key=ed448.Ed448PrivateKey.generate()).jwk(),
        {"kty": ["RSA"]},
        {},
        7,
        None,
    ],
)
def test_other_keys_are_passed_over_and_never_shown(entry: Any) -> None:
    """Symmetric, weak, private, damaged, for other uses: alone refused, beside a good one left out."""
    with pytest.raises(ValueError, match="holds no key that can be used; key 1: ") as caught:
        reading(entry)
    shown = entry.values() if isinstance(entry, dict) else ()
    assert not any(
        isinstance(value, str) and len(value) > 20 and value in str(caught.value) for value in shown
    )
    keys, passed_over = read_jwks(json.dumps({"keys": [entry, SIGNERS["EdDSA"].jwk()]}))
    assert (len(keys), len(passed_over)) == (1, 1)


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"keys": {}}', "[" * 100_000, b"\xff", "null"])
def test_what_is_no_jwks_document_is_told(document: str | bytes) -> None:
    """A proxy's error page, most often."""
    with pytest.raises(ValueError, match="not a JWKS document"):
        read_jwks(document)


@settings(deadline=None)
@given(
    entry=st.dictionaries(
        st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e"]),
        st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "ES256", "sig", "AQAB", "!"])
        | st.none() | st.integers() | st.lists(st.sampled_from(["sig", "verify"]), max_size=2),
    )
)  # fmt: skip
def test_no_entry_breaks_the_reader(entry: dict[str, Any]) -> None:
    """An issuer's odd key never takes its good ones away."""
    keys, _ = read_jwks(json.dumps({"keys": [entry, SIGNERS["ES256"].jwk()]}))
    assert keys.key("k1", "ES256") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_jwks_or_one_pem(kind: Kind, tmp_path: Path) -> None:
    """A key in PEM has no id and is taken for the one that a token names."""
    file = tmp_path / "keys"
    file.write_bytes(jwks(SIGNERS[kind]))
    assert read_key_file(file).key("k1", kind) is not None
    file.write_bytes(SIGNERS[kind].pem())
    assert read_key_file(file).key("any", kind) is not None


def test_a_private_or_foreign_key_in_pem_is_refused(tmp_path: Path) -> None:
    """The message names the file and shows nothing of it."""
    private = EC.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "keys"
    for pem, why in (
        (private, "not a public key"),
        (Signer("ES256", key=ec.generate_private_key(ec.SECP384R1())).pem(), "RSA, P-256 or Ed25519"),
        (Signer("RS256", key=SMALL).pem(), "2048 bits"),
    ):
        file.write_bytes(pem)
        with pytest.raises(ValueError, match=why) as caught:
            read_key_file(file)
        assert str(file) in str(caught.value)
        assert pem.decode().splitlines()[1] not in str(caught.value)


def test_pem_alone_is_read() -> None:
    """Without a file, too."""
    assert len(read_pem(EC.pem())) == 1
