"""Whom the edge lets in, and how it answers whoever proves nothing."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, TypeAlias

from litestar.connection import ASGIConnection

from edge.errors import EdgeError, UnauthenticatedError
from tokenwire.authentication import Bearers, CredentialsError, IssuerAwayError

ANONYMOUS: Final = "anonymous"
"""The principal of everybody, when authentication is off."""

Connection: TypeAlias = "ASGIConnection[Any, Any, Any, Any]"

logger = logging.getLogger(__name__)


class NoAuthentication:
    """Everybody is the same principal."""

    async def principal_of(self, authorization: str) -> str:
        """Return the principal of everybody."""
        del authorization
        return ANONYMOUS

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


async def bearing_principal(bearers: Bearers, authorization: str) -> str:
    """Return the principal of a request.

    Args:
        bearers: Tells who bears what.
        authorization: The Authorization header; empty when there is none.

    Raises:
        UnauthenticatedError: It proves nobody.
        EdgeError: UNAVAILABLE, that can't be told at the moment.
    """
    try:
        return await bearers.principal_of(authorization)
    except CredentialsError as error:
        if error.why:
            logger.info("a token was refused: %s", error.why)
        raise UnauthenticatedError(error.message, error.reason, presented=error.presented) from error
    except IssuerAwayError as error:
        raise EdgeError("UNAVAILABLE", error.message, retry_after_s=error.retry_after_s) from error
