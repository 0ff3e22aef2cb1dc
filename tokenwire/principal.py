"""The principal of a request, signed: how an edge tells a core on whose behalf it calls.

A JWT (HS256) in the call's metadata, so that services in any language can make one too.

Source: https://www.rfc-editor.org/rfc/rfc7519
"""

from __future__ import annotations

import time
from typing import Final

import jwt

METADATA_KEY: Final = "tokenwire-principal"
"""The metadata entry that carries the token."""

AUDIENCE: Final = "tokenwire-core"
ALGORITHM: Final = "HS256"
LIFETIME_S: Final = 60
"""How long a token is good for: it is made for one call."""

LEEWAY_S: Final = 10
"""By how much the clocks of two machines may differ."""

MIN_KEY_BYTES: Final = 32
"""The least that HS256 asks of a key.

Source: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
"""


class PrincipalError(Exception):
    """The token does not prove a principal. The text says why, for the log."""


def sign_principal(name: str, key: str) -> str:
    """Return the token that proves a principal.

    Args:
        name: Who it is; not empty.
        key: What both sides share, of at least 32 bytes.
    """
    now = int(time.time())
    claims = {"sub": name, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME_S}
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def verify_principal(token: str, key: str) -> str:
    """Return the principal that a token proves.

    Args:
        token: As it came.
        key: What both sides share.

    Raises:
        PrincipalError: The token is damaged, was signed with another key, or has expired.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["sub", "aud", "exp", "iat"]},
        )
    except jwt.InvalidTokenError as error:
        raise PrincipalError(str(error)) from error
    name = claims["sub"]
    if not isinstance(name, str) or not name:
        raise PrincipalError("the subject is empty")
    return name
