"""Who calls the core: signed principals, or client certificates."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent_core.errors import ClockSkewError, UnauthenticatedError
from tokenwire.outage import Repeats
from tokenwire.principal import (
    METADATA_KEY,
    PrincipalClockError,
    PrincipalError,
    require_name,
    verify_principal,
)

ANONYMOUS: Final = "anonymous"
"""The principal of every caller, when nobody has to say who they are."""

REFUSED: Final = "a signed principal was refused"

_COMMON_NAME: Final = "x509_common_name"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Callers:
    """Tells who makes a call.

    A signed principal counts before a certificate: an edge with a certificate calls on behalf of others.
    """

    principal_key: str = field(default="", repr=False)
    """Verifies signed principals; empty when there are none."""
    certificates: bool = False
    """Whether callers prove themselves by certificates (mTLS)."""
    shared_owner: bool = False
    """Whether signed principals are passed over, so that all users of an edge are one."""
    _refused: Repeats = field(default_factory=Repeats, init=False, repr=False, compare=False)
    _untimely: Repeats = field(default_factory=Repeats, init=False, repr=False, compare=False)
    """Anybody may call, as often as they like: the log has a line a minute."""

    @property
    def proven(self) -> bool:
        """Whether callers have to prove who they are."""
        return self.certificates or bool(self.principal_key)

    def principal_of(
        self, metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
    ) -> str:
        """Return who makes a call.

        Args:
            metadata: The call's.
            auth_context: What gRPC knows of the caller's certificate.

        Raises:
            UnauthenticatedError: The call does not prove it.
            ClockSkewError: It does, but not for now.
        """
        token = next((value for key, value in metadata if key == METADATA_KEY), None)
        if token is not None and not self.shared_owner:
            return self._verified(token)
        if self.certificates:
            name = next(iter(auth_context.get(_COMMON_NAME, ())), b"")
            if name:
                return self._named(name)
        if self.proven:
            raise UnauthenticatedError
        return ANONYMOUS

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
            return require_name(common_name.decode())
        except (PrincipalError, UnicodeDecodeError) as error:
            self._refused.log(
                logger, logging.WARNING, "a client certificate was refused: its common name: %s", error
            )
            raise UnauthenticatedError from error
