"""Tickets: what opens one run's events to whoever can't send a header, as an `EventSource`.

A ticket is a JWT (HS256) with an audience and a key of its own. It stands in a URL, which ends up in
histories and in the logs of proxies: so it names one run, lets its holder read and do nothing else, and is
good for minutes. An `EventSource` comes back with the URL that it was opened with, so a ticket is good for
any number of openings until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import jwt

from edge.errors import UnauthenticatedError
from tokenwire.principal import PrincipalError, require_name
from tokenwire.reasons import Reason

AUDIENCE: Final = "tokenwire-ticket"
"""No other token of ours has it: a principal's signature for the core is no ticket, and the reverse."""

ALGORITHM: Final = "HS256"

LEEWAY_S: Final = 10
"""By how much the clocks of two edges may differ."""

MAX_TICKET_CHARS: Final = 4096
"""More than a principal and a run can need: what is longer is not even looked at."""

_RUN: Final = "run"
_LABEL: Final = b"tokenwire ticket key 1"

logger = logging.getLogger(__name__)


class Ticket(NamedTuple):
    """A ticket and its end."""

    text: str
    """What stands in the URL."""
    expire_unix_s: int
    """When it ends, in Unix seconds."""


class Tickets:
    """Signs tickets and checks them.

    Args:
        key: What signs them, of at least 32 bytes; the same at every edge.
        lifetime_s: How long a ticket is good for.
        now_unix_s: Tells the time when one is made.
    """

    def __init__(self, key: bytes, *, lifetime_s: float, now_unix_s: Callable[[], float] = time.time) -> None:
        self._key = key
        self._lifetime_s = lifetime_s
        self._now_unix_s = now_unix_s

    def issue(self, principal: str, run_id: str) -> Ticket:
        """Return a ticket to a run's events.

        Args:
            principal: Whose ticket it is. Whether the run is theirs was asked before.
            run_id: The run.
        """
        now = int(self._now_unix_s())
        expire = now + max(1, round(self._lifetime_s))
        claims = {"aud": AUDIENCE, "sub": principal, _RUN: run_id, "iat": now, "exp": expire}
        return Ticket(jwt.encode(claims, self._key, algorithm=ALGORITHM), expire)

    def principal_of(self, ticket: str, run_id: str) -> str:
        """Return whose ticket it is.

        Args:
            ticket: As it came.
            run_id: The run whose events are wanted.

        Raises:
            UnauthenticatedError: It is damaged or has expired, is not ours, or is another run's. A client
                is told of an expiry alone.
        """
        try:
            claims = self._claims_of(ticket)
            if claims[_RUN] != run_id:
                raise jwt.InvalidTokenError("it is another run's")
            return require_name(claims["sub"])
        except jwt.ExpiredSignatureError as error:
            raise UnauthenticatedError(
                "The ticket has expired.", Reason.TICKET_EXPIRED, presented=True
            ) from error
        except (jwt.PyJWTError, PrincipalError) as error:
            logger.info("a ticket was refused: %s", error)
            raise UnauthenticatedError(
                "The ticket is not valid.", Reason.TICKET_INVALID, presented=True
            ) from error

    def _claims_of(self, ticket: str) -> dict[str, object]:
        if len(ticket) > MAX_TICKET_CHARS:
            raise jwt.DecodeError("it is too long")
        return jwt.decode(
            ticket,
            self._key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["aud", "sub", _RUN, "iat", "exp"]},
        )


def ticket_key(ticket_key_text: str, principal_key: str) -> bytes:
    """Return the key that signs tickets.

    Args:
        ticket_key_text: The setting; empty for none.
        principal_key: What edges and cores share; empty for none. The key is derived from it where there is
            no other, so that every edge takes every other's tickets.

    Returns:
        The key; a random one, which only this process knows, when neither is set.
    """
    if ticket_key_text:
        return ticket_key_text.encode()
    if principal_key:
        return hmac.digest(principal_key.encode(), _LABEL, hashlib.sha256)
    return secrets.token_bytes(32)
