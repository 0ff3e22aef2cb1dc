"""What checks bearers, and how it says that one proves nobody."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tokenwire.reasons import Reason


class CredentialsError(Exception):
    """A bearer proves nobody.

    Args:
        message: What is wrong, fit for a user.
        reason: The same in a word for programs, the same at the edge and at the core.
        why: What exactly is wrong, for the log alone; empty where the message says it all.
    """

    def __init__(self, message: str, reason: str, why: str = "") -> None:
        super().__init__(f"{reason}: {why or message}")
        self.message = message
        self.reason = reason
        self.why = why

    @property
    def presented(self) -> bool:
        """Whether there was a bearer: then it is what is wrong."""
        return self.reason != Reason.CREDENTIALS_MISSING


class IssuerAwayError(Exception):
    """Whether a token is valid can't be told at the moment: the issuer's keys can't be fetched.

    Args:
        retry_after_s: When to try again, in seconds: 1 or more.
    """

    def __init__(self, retry_after_s: float) -> None:
        self.message = "Tokens can't be checked at the moment."
        super().__init__(self.message)
        self.retry_after_s = retry_after_s


class Bearers(Protocol):
    """Tells who is asking, by what an Authorization header bears."""

    async def principal_of(self, authorization: str) -> str:
        """Return the principal.

        Args:
            authorization: The header, `Bearer …`; empty when there is none.

        Raises:
            CredentialsError: It proves nobody.
            IssuerAwayError: That can't be told at the moment.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context within which it can be asked: it may have to fetch keys meanwhile."""


class BearerMethod(Bearers, Protocol):
    """A method of authentication that may stand beside others."""

    def takes(self, bearer: str) -> bool:
        """Return whether a bearer has the form of this method. It need not be valid.

        Args:
            bearer: As it came.
        """


def authorization_of(values: Iterable[str]) -> str:
    """Return what all Authorization headers of a call say together; empty for nothing.

    Several are one with commas, as everywhere in HTTP, and so prove nobody: a proxy could have looked at
    another one than this process.

    Args:
        values: Of each header; blank ones say nothing.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-5.3
    """
    return ", ".join(value for value in values if value.strip())


def bearer_of(authorization: str) -> str:
    """Return what an Authorization header bears.

    Args:
        authorization: The header; empty when there is none.

    Raises:
        CredentialsError: It bears nothing.
    """
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if scheme.lower() != "bearer" or not credentials:
        raise CredentialsError("Say who you are: `Authorization: Bearer …`.", Reason.CREDENTIALS_MISSING)
    return credentials
