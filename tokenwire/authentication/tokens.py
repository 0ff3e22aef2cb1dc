"""JWTs of an issuer: who bears a valid one is its subject."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import jwt

from tokenwire.authentication.contract import CredentialsError, bearer_of
from tokenwire.authentication.key_set import ALGORITHMS, KeySource
from tokenwire.principal import JWT_PREFIX, PrincipalError, require_expiry, require_name
from tokenwire.reasons import Reason

MAX_TOKEN_CHARS: Final = 16 * 1024
"""Longer ones are not even decoded. Tokens with hundreds of roles have about half of that."""


@dataclass(frozen=True, slots=True)
class JwtRules:
    """What a token must say."""

    issuer: str
    """Its `iss`, exactly."""
    audience: str
    """Its `aud`, or one of them."""
    principal_claim: str = "sub"
    """The claim that names the principal."""
    leeway_s: float = 30
    """By how much the issuer's clock and this one may differ."""


class JwtTokens:
    """Principals by the tokens of one issuer.

    Args:
        keys: The issuer's keys.
        rules: What a token must say.
    """

    def __init__(self, keys: KeySource, rules: JwtRules) -> None:
        self._keys = keys
        self._rules = rules

    def takes(self, bearer: str) -> bool:
        """Return whether a bearer has the form of a JWT."""
        return looks_like_jwt(bearer)

    async def principal_of(self, authorization: str) -> str:
        """Return the principal that the header's token names."""
        token = bearer_of(authorization)
        try:
            return principal_in(await self._claims_of(token), self._rules.principal_claim)
        except jwt.ExpiredSignatureError as error:
            raise CredentialsError("The token has expired.", Reason.TOKEN_EXPIRED, str(error)) from error
        except jwt.ImmatureSignatureError as error:
            why = (
                f"{error}: the issuer's clock is ahead of this one by more than {self._rules.leeway_s:g} s "
                "(TOKENWIRE_JWT_LEEWAY_S)"
            )
            raise CredentialsError("The token is not valid.", Reason.TOKEN_INVALID, why) from error
        except jwt.PyJWTError as error:
            raise CredentialsError("The token is not valid.", Reason.TOKEN_INVALID, str(error)) from error

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context within which the keys are kept fresh."""
        return self._keys.running()

    async def _claims_of(self, token: str) -> dict[str, Any]:
        """Return what a valid token says.

        Raises:
            jwt.PyJWTError: It is not valid.
            IssuerAwayError: The issuer's keys are not to be had.
        """
        kid, algorithm = header_of(token)
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise jwt.InvalidKeyError(f"the issuer has no {algorithm} key {kid!r:.80}")
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=self._rules.issuer,
            audience=self._rules.audience,
            leeway=self._rules.leeway_s,
            options={"require": ["iss", "aud", "exp"]},
        )
        require_expiry(claims)
        return claims


def header_of(token: str) -> tuple[str | None, str]:
    """Return the key and the algorithm that a token names. Nothing is proven by that.

    Args:
        token: As it came.

    Raises:
        jwt.PyJWTError: It is no JWT, or names an algorithm that is not allowed.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise jwt.DecodeError(f"it has more than {MAX_TOKEN_CHARS} characters")
    header = jwt.get_unverified_header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise jwt.InvalidAlgorithmError(f"the algorithm {algorithm!r:.40} is not allowed")
    return kid, algorithm


def principal_in(claims: dict[str, Any], claim: str) -> str:
    """Return the principal that a valid token names.

    Args:
        claims: What the token says.
        claim: The claim that holds the name.

    Raises:
        jwt.InvalidTokenError: There is no such claim, or it can't be a principal's name.
    """
    if claim not in claims:
        raise jwt.InvalidTokenError(f"the claim {claim} is missing")
    try:
        return require_name(JWT_PREFIX + require_name(claims[claim]))
    except PrincipalError as error:
        raise jwt.InvalidTokenError(f"the claim {claim}: {error}") from error


def looks_like_jwt(bearer: str) -> bool:
    """Return whether a bearer has the form of a JWT. It need not be valid.

    Args:
        bearer: As it came.
    """
    if len(bearer) > MAX_TOKEN_CHARS:
        return True  # no key is as long; the check of tokens refuses it, and says so in the log
    try:
        jwt.get_unverified_header(bearer)
    except jwt.PyJWTError:
        return False
    return True
