"""API keys and JWTs side by side."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import jwt

from tokenwire.authentication.api_keys import ApiKeys
from tokenwire.authentication.contract import bearer_of
from tokenwire.authentication.tokens import MAX_TOKEN_CHARS, JwtTokens


class KeysAndTokens:
    """Takes a bearer that is a JWT for one, and any other for an API key.

    Args:
        keys: The API keys.
        tokens: Checks JWTs.
    """

    def __init__(self, keys: ApiKeys, tokens: JwtTokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def principal_of(self, authorization: str) -> str:
        """Return the principal of the key or of the token that the header carries."""
        if looks_like_jwt(bearer_of(authorization)):
            return await self._tokens.principal_of(authorization)
        return await self._keys.principal_of(authorization)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context within which the issuer's keys are kept fresh."""
        return self._tokens.running()


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
