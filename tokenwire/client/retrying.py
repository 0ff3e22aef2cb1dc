"""How long the client tries to reach a server again, and what makes that pointless."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from tokenwire.backoff import DEFAULT_PATIENCE_S, Backoff
from tokenwire.client.errors import ClientError, RefusedError, UnreachableError
from tokenwire.client.transport import Transport

FIRST_WAIT_S: Final = 0.1
MOST_WAIT_S: Final = 1.0
"""How long it waits after a failure: twice as long each time, shortened by up to a half, so that the clients
of a failed server do not return all at once."""

OnRetry: TypeAlias = Callable[[ClientError, int], None]
"""Told before each new try: what has failed, and how many tries have failed since the last contact."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to try."""

    patience_s: float = DEFAULT_PATIENCE_S
    """How long without contact, in seconds."""
    on_retry: OnRetry | None = None

    def backoff(self) -> Backoff:
        """Return a counter of failures."""
        return Backoff(FIRST_WAIT_S, MOST_WAIT_S, give_up_s=self.patience_s)


class Retries:
    """The failures of one run, or of one request, since the last contact.

    Args:
        policy: How long to try.
        transport: Is turned to the next address before each new try.
    """

    def __init__(self, policy: RetryPolicy, transport: Transport) -> None:
        self._policy = policy
        self._transport = transport
        self._backoff = policy.backoff()

    def contact(self) -> None:
        """Take note that the server has answered."""
        self._backoff.succeeded()

    async def wait(self, problem: ClientError, *, is_start: bool, at_least_s: float = 0.0) -> None:
        """Return when it is time to try again.

        Args:
            problem: What has failed.
            is_start: Whether no run is known yet, so that a wrong address can be told at once.
            at_least_s: What the server asked for, in seconds.

        Raises:
            ClientError: The problem: it is final, or has lasted too long.
        """
        if is_final(problem) or (
            is_start and isinstance(problem, UnreachableError) and self._transport.is_out_of_reach
        ):
            raise problem
        asked_s = (problem.retry_after_s or 0.0) if isinstance(problem, RefusedError) else 0.0
        wait_s = self._backoff.failed(time.monotonic(), at_least_s=max(asked_s, at_least_s))
        if wait_s is None:
            raise problem
        if self._policy.on_retry is not None:
            self._policy.on_retry(problem, self._backoff.failures)
        await asyncio.sleep(wait_s)
        await self._transport.turn()


def is_final(problem: ClientError) -> bool:
    """Return whether trying again does not help."""
    return not problem.retryable


async def persist(
    transport: Transport, policy: RetryPolicy, call: Callable[[Transport], Awaitable[Answer]]
) -> Answer:
    """Return the answer to a request that may be repeated, however often it takes.

    Raises:
        ClientError: It was refused, or could not be sent in time.
    """
    own = transport.fork()
    retries = Retries(replace(policy, on_retry=None), own)
    while True:
        try:
            return await call(own)
        except ClientError as error:
            await retries.wait(error, is_start=True)
