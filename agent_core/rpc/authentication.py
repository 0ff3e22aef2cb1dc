"""Who calls the core: signed principals, API keys and JWTs, or client certificates."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent_core.errors import (
    BearerNotAcceptedError,
    BearerRefusedError,
    ClockSkewError,
    IssuerUnavailableError,
    LinkNotAllowedError,
    UnauthenticatedError,
)
from tokenwire.authentication import Bearers, CredentialsError, IssuerAwayError, authorization_of
from tokenwire.outage import Repeats
from tokenwire.principal import (
    JWT_PREFIX,
    METADATA_KEY,
    PrincipalClockError,
    PrincipalError,
    require_name,
    verify_principal,
)

ANONYMOUS: Final = "anonymous"
"""The principal of every caller, when nobody has to say who they are."""

REFUSED: Final = "a signed principal was refused"

AUTHORIZATION: Final = "authorization"
"""The metadata entry that bears an API key or a JWT, as gRPC's own call credentials send it."""

_COMMON_NAME: Final = "x509_common_name"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Callers:
    """Tells who makes a call.

    A signed principal counts before all: an edge calls on behalf of others, whatever else it, or a proxy on
    the way, sends along. A bearer counts before a certificate, and one that proves nobody is refused: whoever
    sends it means to be somebody, and must not become somebody else.
    """

    principal_key: str = field(default="", repr=False)
    """Verifies signed principals; empty when there are none."""
    certificates: bool = False
    """Whether callers prove themselves by certificates (mTLS)."""
    bearers: Bearers | None = field(default=None, repr=False)
    """Checks API keys and JWTs; None when none are accepted."""
    shared_owner: bool = False
    """Whether signed principals are passed over, so that all users of an edge are one."""
    _refused: Repeats = field(default_factory=Repeats, init=False, repr=False, compare=False)
    _untimely: Repeats = field(default_factory=Repeats, init=False, repr=False, compare=False)
    """Anybody may call, as often as they like: the log has a line a minute."""

    @property
    def proven(self) -> bool:
        """Whether callers have to prove who they are."""
        return self.certificates or bool(self.principal_key) or self.bearers is not None

    async def principal_of(
        self, metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
    ) -> str:
        """Return who makes a call.

        Args:
            metadata: The call's.
            auth_context: What gRPC knows of the caller's certificate.

        Raises:
            UnauthenticatedError: The call does not prove it.
            BearerRefusedError: What it bears does not.
            ClockSkewError: It does, but not for now.
            IssuerUnavailableError: It bears a JWT, which can't be checked at the moment.
        """
        given = tuple(metadata)
        token = _token_in(given)
        authorization = _authorization_in(given)
        if authorization and (token is None or self.shared_owner):
            return await self._bearing(authorization)
        return self.caller_of(token, auth_context)

    def edge_of(
        self, metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
    ) -> str:
        """Return who opens a link.

        Args:
            metadata: The call's.
            auth_context: What gRPC knows of the caller's certificate.

        Raises:
            LinkNotAllowedError: It bears something: a user does, an edge does not.
            UnauthenticatedError: It does not prove to be an edge.
            ClockSkewError: It does, but not for now.
        """
        given = tuple(metadata)
        token = _token_in(given)
        if _authorization_in(given) and (token is None or self.shared_owner):
            raise LinkNotAllowedError
        return self.caller_of(token, auth_context)

    def caller_of(self, token: str | bytes | None, auth_context: Mapping[str, Iterable[bytes]]) -> str:
        """Return on whose behalf an edge calls.

        Args:
            token: The signed principal; None for none.
            auth_context: What gRPC knows of the caller's certificate.

        Raises:
            UnauthenticatedError: Nothing proves it.
            ClockSkewError: Something does, but not for now.
        """
        if token is not None and not self.shared_owner:
            return self._verified(token)
        if self.certificates:
            name = next(iter(auth_context.get(_COMMON_NAME, ())), b"")
            if name:
                return self._named(name)
        if self.proven:
            raise UnauthenticatedError
        return ANONYMOUS

    async def _bearing(self, authorization: str) -> str:
        if self.bearers is None:
            # Passed over, it would make its sender somebody else: a certificate's name, or anonymous.
            self._refused.log(
                logger, logging.WARNING, "credentials were refused: %s", "TOKENWIRE_AUTH is not set here"
            )
            raise BearerNotAcceptedError
        try:
            return await self.bearers.principal_of(authorization)
        except CredentialsError as error:
            self._refused.log(logger, logging.WARNING, "credentials were refused: %s", error)
            raise BearerRefusedError(error.reason, error.message) from error
        except IssuerAwayError as error:
            raise IssuerUnavailableError(error.message, error.retry_after_s) from error

    def _verified(self, token: str | bytes) -> str:
        if not self.principal_key:
            # To pass it over would make one owner of all users whom the caller keeps apart.
            self._refused.log(
                logger, logging.WARNING, f"{REFUSED}: %s", "TOKENWIRE_PRINCIPAL_KEY is not set here"
            )
            raise UnauthenticatedError
        try:
            text = token.decode("ascii") if isinstance(token, bytes) else token
            return verify_principal(text, self.principal_key)
        except PrincipalClockError as error:
            self._untimely.log(logger, logging.WARNING, f"{REFUSED}: %s", error)
            raise ClockSkewError(error.difference_s) from error
        except (PrincipalError, UnicodeDecodeError) as error:
            self._refused.log(logger, logging.WARNING, f"{REFUSED}: %s", error)
            raise UnauthenticatedError from error

    def _named(self, common_name: bytes) -> str:
        try:
            return require_common_name(common_name.decode())
        except (PrincipalError, UnicodeDecodeError) as error:
            self._refused.log(
                logger, logging.WARNING, "a client certificate was refused: its common name: %s", error
            )
            raise UnauthenticatedError from error


def require_common_name(name: str) -> str:
    """Return the principal that a certificate names.

    Args:
        name: Its common name.

    Raises:
        PrincipalError: It can't be a principal's, or can be that of a user of a JWT issuer alone.
    """
    if name.startswith(JWT_PREFIX):
        raise PrincipalError(f"the name begins with {JWT_PREFIX}, as those of the issuer's users alone do")
    return require_name(name)


def _token_in(metadata: Iterable[tuple[str, str | bytes]]) -> str | bytes | None:
    """Return the signed principal of a call; None for none."""
    return next((value for key, value in metadata if key == METADATA_KEY), None)


def _authorization_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return what a call bears; empty for nothing."""
    values = (value for key, value in metadata if key == AUTHORIZATION)
    return authorization_of(
        value.decode("ascii", "replace") if isinstance(value, bytes) else value for value in values
    )
