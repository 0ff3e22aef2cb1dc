"""The principal of a request, signed: how an edge tells a core on whose behalf it calls.

A JWT (HS256) in the call's metadata, so that services in any language can make one too.

Source: https://www.rfc-editor.org/rfc/rfc7519
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

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

MAKE_KEY: Final = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
"""The command that prints a new key."""

JWT_PREFIX: Final = "jwt:"
"""What the principals of an issuer's tokens begin with. The name of an API key can't hold a colon, so that
a user who may choose a name at the issuer never becomes the owner of a key's runs."""

MAX_NAME_BYTES: Final = len(JWT_PREFIX) + 255
"""The longest principal, in bytes of UTF-8: the longest subject of an issuer's token, with its prefix.

Source: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
"""

API_KEY_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
"""What the owner of an API key may be called."""

MAX_EXPIRE_UNIX_S: Final = 253_402_300_799
"""The last second of the year 9999. A token that expires later names no date."""


def require_key_length(key: str) -> None:
    """Return if a key is long enough, or is none.

    Raises:
        ValueError: It is too short.
    """
    if 0 < len(key.encode()) < MIN_KEY_BYTES:
        raise ValueError(f"must have at least {MIN_KEY_BYTES} bytes")


class PrincipalError(Exception):
    """A name, or a token, is not a principal's. The text says why, for the log."""


def require_separation(proof: str, *, key: str, shared_owner: bool) -> None:
    """Return if the principals that a process lets in stay apart at the core, or are meant to share all.

    Args:
        proof: The setting that makes callers prove who they are; empty for none.
        key: TOKENWIRE_PRINCIPAL_KEY; empty for none.
        shared_owner: TOKENWIRE_SHARED_OWNER.

    Raises:
        ValueError: They would share all, and nothing says that they may; or both settings are there.
    """
    if key and shared_owner:
        raise ValueError(
            "TOKENWIRE_SHARED_OWNER=true contradicts TOKENWIRE_PRINCIPAL_KEY: unset the first to keep users "
            "apart, or the second to let them share all runs, sessions and histories"
        )
    if proof and not key and not shared_owner:
        raise ValueError(
            f"{proof} needs TOKENWIRE_PRINCIPAL_KEY, the same at all edges and cores: without it all users "
            f"would share their runs, sessions and histories. Make one with: {MAKE_KEY} "
            "(if they may share them, set TOKENWIRE_SHARED_OWNER=true instead)"
        )


class PrincipalClockError(PrincipalError):
    """The token is sound, and not for now: two clocks differ, or it was on its way for too long.

    Args:
        difference_s: How much later than this clock's the token's time of issue is, in seconds.
    """

    def __init__(self, difference_s: int) -> None:
        self.difference_s = difference_s
        side = "ahead of" if difference_s > 0 else "behind"
        super().__init__(
            f"the clocks of this machine and the caller differ: the caller's is about {abs(difference_s)} s "
            f"{side} this one's (up to {LEEWAY_S} s are allowed), or its call took that long"
        )


def require_name(name: object) -> str:
    """Return a name that can be a principal's.

    It becomes part of log lines and of keys in stores, and people compare it by eye: so it is printable
    text. That excludes control characters and line breaks, and also unpaired surrogates, unassigned code
    points and the invisible ones that join, separate or reverse text (bidi): with those, two principals
    could look alike, or a log line could read as another one.

    Args:
        name: What claims to be a name.

    Raises:
        PrincipalError: It is not text, is blank, begins or ends with a space, holds a character that can't
            be printed, or is too long.
    """
    if not isinstance(name, str):
        raise PrincipalError("the name is not text")
    if not name.strip():
        raise PrincipalError("the name is blank")
    if not name.isprintable():
        raise PrincipalError("the name holds characters that can't be printed")
    if name != name.strip():
        raise PrincipalError("the name begins or ends with a space")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise PrincipalError(f"the name is longer than {MAX_NAME_BYTES} bytes")
    return name


def owned_key(owner: str, name: str) -> str:
    """Return one text for what a principal has given a name: a request, or a session.

    Two different pairs never give the same text: the first line break ends the owner. An owner that
    `require_name` takes holds none and stands as it is; in any other it is replaced, and so is what it is
    replaced by.

    Args:
        owner: The principal.
        name: The name, which may hold anything.
    """
    return owner.replace("\0", "\0\0").replace("\n", "\0n") + "\n" + name


def require_expiry(claims: Mapping[str, Any]) -> None:
    """Return if a valid token expires at a date.

    Args:
        claims: What it says. `exp` was checked to be a number.

    Raises:
        jwt.DecodeError: It expires after the year 9999.
    """
    if int(claims["exp"]) > MAX_EXPIRE_UNIX_S:
        raise jwt.DecodeError("it expires after the year 9999")


def sign_principal(name: str, key: str) -> str:
    """Return the token that proves a principal.

    Args:
        name: Who it is.
        key: What both sides share, of at least 32 bytes.

    Raises:
        PrincipalError: The name can't be a principal's.
    """
    require_name(name)
    now = int(time.time())
    claims = {"sub": name, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME_S}
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def verify_principal(token: str, key: str) -> str:
    """Return the principal that a token proves.

    Args:
        token: As it came.
        key: What both sides share.

    Raises:
        PrincipalClockError: It was signed with the key, and has expired or is not valid yet.
        PrincipalError: The token is damaged, was signed with another key, or names what can't be a
            principal.
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
        require_expiry(claims)
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
        raise PrincipalClockError(_issued_unix_s(token) - int(time.time())) from error
    except jwt.InvalidTokenError as error:
        raise PrincipalError(str(error)) from error
    return require_name(claims["sub"])


def _issued_unix_s(token: str) -> int:
    """Return when a token was made, of which everything was found good but the time."""
    return int(jwt.decode(token, options={"verify_signature": False})["iat"])
