"""Who is asking: API keys, kept as hashes.

Keys are long random texts, so one SHA-256 is enough: there is nothing to guess, and looking a hash up
tells nothing by its timing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from edge.errors import RequestError

ANONYMOUS: Final = "anonymous"
"""The principal of everybody, when authentication is off."""

_LINE: Final = re.compile(r"([A-Za-z0-9._@-]{1,64})[:\s]+sha256:([0-9a-f]{64})")
_PRINCIPAL_KEY: Final = "tokenwire.principal"

Connection: TypeAlias = "ASGIConnection[Any, Any, Any, Any]"


class Authenticator(Protocol):
    """Tells who is asking."""

    def principal_of(self, authorization: str) -> str:
        """Return the principal.

        Args:
            authorization: The Authorization header; empty when there is none.

        Raises:
            RequestError: UNAUTHENTICATED.
        """


class NoAuthentication:
    """Everybody is the same principal."""

    def principal_of(self, authorization: str) -> str:
        """Return the principal of everybody."""
        del authorization
        return ANONYMOUS


class ApiKeys:
    """Principals by the hashes of their keys.

    Args:
        principals: The principal of each hash, in lower-case hex.
    """

    def __init__(self, principals: dict[str, str]) -> None:
        self._principals = principals

    def __repr__(self) -> str:
        """Return how many keys there are: not even their hashes."""
        return f"ApiKeys({len(self._principals)})"

    def principal_of(self, authorization: str) -> str:
        """Return the principal whose key the header carries."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise RequestError("UNAUTHENTICATED", "An API key is needed: `Authorization: Bearer …`.")
        principal = self._principals.get(hash_of(key.strip()))
        if principal is None:
            raise RequestError("UNAUTHENTICATED", "The API key is not valid.")
        return principal


def hash_of(key: str) -> str:
    """Return the hash under which a key is kept.

    Args:
        key: As a client sends it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def parse_keys(lines: Iterable[str]) -> dict[str, str]:
    """Return the principal of each hash.

    Args:
        lines: `NAME sha256:HEX` each (`tokenwire key` makes them); empty ones and those that begin
            with # are passed over.

    Raises:
        ValueError: A line is not of that form, or two principals share a key. The line's number is
            told, not the line.
    """
    principals: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"line {number} is not `NAME sha256:HEX` (see `tokenwire key --help`)")
        if principals.setdefault(match[2], match[1]) != match[1]:
            raise ValueError(f"line {number} gives the same key to a second principal")
    return principals


def load_keys(inline: str, file: Path | None) -> ApiKeys:
    """Return the keys that the settings name.

    Args:
        inline: Lines, or entries separated by commas; may be empty.
        file: A file of lines; None for none.

    Raises:
        ValueError: There is none, or one can't be read.
        OSError: The file can't be read.
    """
    principals = parse_keys(inline.replace(",", "\n").splitlines())
    if file is not None:
        principals |= parse_keys(file.read_text(encoding="utf-8").splitlines())
    if not principals:
        raise ValueError("there are no API keys (`tokenwire key` makes one)")
    return ApiKeys(principals)


def require_principal(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request through when it says who asks, and remember it. A Litestar guard.

    Raises:
        RequestError: UNAUTHENTICATED.
    """
    del handler
    authenticator: Authenticator = connection.app.state.edge.authenticator
    header = connection.headers.get("authorization", "")
    connection.scope["state"][_PRINCIPAL_KEY] = authenticator.principal_of(header)


def principal_of(connection: Connection) -> str:
    """Return who is asking, as `require_principal` found out."""
    principal: str = connection.scope["state"].get(_PRINCIPAL_KEY, ANONYMOUS)
    return principal
