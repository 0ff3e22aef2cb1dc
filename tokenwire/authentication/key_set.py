"""The public keys of an issuer. Pure, but for reading a file.

What a key is good for is decided here, from the key itself, and never from a token: one algorithm for each
kind of key, no symmetric ones. A token's `alg` can only name one of these or be refused.

Source: https://www.rfc-editor.org/rfc/rfc8725#section-3.1
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tokenwire.settings import WrongSettingError, read_file

ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})
"""What tokens may be signed with."""

KEYS_FILE: Final = "TOKENWIRE_JWT_KEYS_FILE"

MIN_RSA_BITS: Final = 2048
"""Source: https://www.rfc-editor.org/rfc/rfc7518#section-3.3"""


logger = logging.getLogger(__name__)


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, or None when there is none.

        Args:
            kid: The key's id in the token's header; None when it has none.
            algorithm: The algorithm there, one of ALGORITHMS.

        Raises:
            IssuerAwayError: The issuer can't be asked.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context within which it can be asked."""


class KeySet:
    """Keys that signatures are checked with. By itself a source that never changes.

    Args:
        keys: The keys, each good for one of ALGORITHMS.
    """

    def __init__(self, keys: Iterable[jwt.PyJWK]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._keys)

    def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names.

        A token that names none, and a key that has no name, are matched only when no choice is left.

        Args:
            kid: The key's id; None when the token has none.
            algorithm: The token's algorithm.
        """
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        named = [key for key in fitting if kid is not None and key.key_id == kid]
        if named:
            return named[0]
        possible = [key for key in fitting if kid is None or key.key_id is None]
        return possible[0] if len(possible) == 1 else None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names."""
        return self.key(kid, algorithm)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


def read_jwks(document: bytes | str) -> tuple[KeySet, list[str]]:
    """Return the keys of a JWKS document, and why each of the others was passed over.

    Args:
        document: JSON, as issuers publish it.

    Raises:
        ValueError: It is no JWKS document, or holds no key that can be used.

    Source: https://www.rfc-editor.org/rfc/rfc7517
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise ValueError("it is not a JWKS document") from error
    if not isinstance(entries, list):
        raise ValueError("it is not a JWKS document")  # noqa: TRY004 # the document's fault, not the caller's
    keys, passed_over = [], []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_usable(entry))
        except (ValueError, TypeError, jwt.PyJWTError, UnsupportedAlgorithm) as error:
            passed_over.append(f"key {number}: {_reason(error)}")
    if not keys:
        raise ValueError("; ".join(["it holds no key that can be used", *passed_over]))
    return KeySet(keys), passed_over


def read_pem(pem: bytes) -> KeySet:
    """Return the one key of a PEM file.

    Args:
        pem: A public key (`BEGIN PUBLIC KEY`).

    Raises:
        ValueError: It is none, or not one of RSA, P-256 and Ed25519.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is not a public key in PEM") from error
    if isinstance(key, RSAPublicKey):
        return KeySet([_usable(RSAAlgorithm.to_jwk(key, as_dict=True))])
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return KeySet([_usable(ECAlgorithm.to_jwk(key, as_dict=True))])
    if isinstance(key, Ed25519PublicKey):
        return KeySet([_usable(OKPAlgorithm.to_jwk(key, as_dict=True))])
    raise ValueError("it is not a key of RSA, P-256 or Ed25519")


def read_key_file(path: Path) -> KeySet:
    """Return the keys of a file: JWKS, or a public key in PEM.

    Args:
        path: The file.

    Raises:
        WrongSettingError: It can't be read, or holds no key that can be used.
    """
    content = read_file(KEYS_FILE, path)
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            return read_pem(content)
        keys, passed_over = read_jwks(content)
    except ValueError as error:
        raise WrongSettingError(f"{KEYS_FILE}={path}: {error}") from error
    for reason in passed_over:
        logger.info("%s: ignored %s", path, reason)
    return keys


def _usable(entry: Any) -> jwt.PyJWK:
    """Return the key of a JWKS entry.

    Raises:
        ValueError: It is not for checking signatures, or not of a kind that is.
        TypeError, jwt.PyJWTError: It is damaged.
    """
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 # the document's fault
    if entry.get("kty") not in {"RSA", "EC", "OKP"}:
        raise ValueError("its kind is not RSA, EC or OKP")
    if "d" in entry:
        raise ValueError("it is a private key, which only the issuer may have")
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise ValueError("it is not for signatures")
    if entry.get("alg", "RS256") not in ALGORITHMS:
        raise ValueError("its algorithm is not RS256, ES256 or EdDSA")
    if not isinstance(entry.get("kid", ""), str):
        raise ValueError("its id is not text")  # noqa: TRY004 # the document's fault
    key = jwt.PyJWK(entry)
    _check_kind(key)
    return key


def _check_kind(key: jwt.PyJWK) -> None:
    """Let a key pass that is of its algorithm's kind, and strong enough.

    Raises:
        ValueError: It is not.
    """
    material = key.key
    if key.algorithm_name == "RS256" and isinstance(material, RSAPublicKey):
        if material.key_size < MIN_RSA_BITS:
            raise ValueError(f"it has less than {MIN_RSA_BITS} bits")
        return
    if (
        key.algorithm_name == "ES256"
        and isinstance(material, EllipticCurvePublicKey)
        and isinstance(material.curve, SECP256R1)
    ):
        return
    if key.algorithm_name == "EdDSA" and isinstance(material, Ed25519PublicKey):
        return
    raise ValueError("its kind does not fit its algorithm, or is not RSA, P-256 or Ed25519")


def _reason(error: Exception) -> str:
    """Return why a key can't be used; not in a library's words, which may hold the key."""
    return str(error) if type(error) is ValueError else f"it is damaged ({type(error).__name__})"
