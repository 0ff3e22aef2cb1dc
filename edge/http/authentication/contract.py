"""What tells who is asking, and how it says that somebody did not."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Protocol, TypeAlias

from litestar.connection import ASGIConnection

from edge.errors import UnauthenticatedError

ANONYMOUS: Final = "anonymous"
"""The principal of everybody, when authentication is off."""

Connection: TypeAlias = "ASGIConnection[Any, Any, Any, Any]"


class Authenticator(Protocol):
    """Tells who is asking."""

    async def principal_of(self, authorization: str) -> str:
        """Return the principal.

        Args:
            authorization: The Authorization header; empty when there is none.

        Raises:
            UnauthenticatedError: It proves nobody.
            EdgeError: UNAVAILABLE, that can't be told at the moment.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context within which it can be asked: it may have to fetch keys meanwhile."""


class NoAuthentication:
    """Everybody is the same principal."""

    async def principal_of(self, authorization: str) -> str:
        """Return the principal of everybody."""
        del authorization
        return ANONYMOUS

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


def bearer_of(authorization: str) -> str:
    """Return what an Authorization header bears.

    Args:
        authorization: The header; empty when there is none.

    Raises:
        UnauthenticatedError: It bears nothing.
    """
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if scheme.lower() != "bearer" or not credentials:
        raise UnauthenticatedError(
            "Say who you are: `Authorization: Bearer …`.", "CREDENTIALS_MISSING", presented=False
        )
    return credentials
