"""An issuer's keys, fetched from its JWKS address and kept fresh.

The last good set stands until a newer one was read: an issuer that is away locks nobody out. A token that
names an unknown key has the set fetched at once, since issuers change their keys; but however many such
tokens come, there is one fetch at a time, and a pause between two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx
import jwt

from tokenwire.addresses import is_exposed, unproxied
from tokenwire.authentication.contract import IssuerAwayError
from tokenwire.authentication.key_set import KeySet, read_jwks
from tokenwire.backoff import Backoff
from tokenwire.outage import Outage
from tokenwire.settings import WrongSettingError

PAUSE_S: Final = 5.0
"""The least time from the beginning of one fetch to that of the next. A key that was published a moment ago
is unknown for as long."""

FETCH_TIMEOUT_S: Final = 4.0
"""How long a whole fetch may take. Requests that need it wait as long."""

MAX_DOCUMENT_BYTES: Final = 1024 * 1024
"""The largest document that is read. A key is about 500 bytes."""

logger = logging.getLogger(__name__)


class JwksEndpoint:
    """The keys at an address.

    Args:
        url: The address: https, or http where the network is trusted.
        refresh_s: How often the set is fetched anew by itself: a key that the issuer withdrew is good for as
            long.
        pause_s: The least time between two fetches.
        clock_s: Tells the time.

    Raises:
        WrongSettingError: The address is none.
    """

    def __init__(
        self,
        url: str,
        *,
        refresh_s: float,
        pause_s: float = PAUSE_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = checked_url(url)
        if is_exposed(url):
            logger.warning(
                "TOKENWIRE_JWT_JWKS_URL is plain HTTP to another machine: whoever can change its answers on "
                "the way can make tokens that are accepted here. Use an https:// URL"
            )
        self._refresh_s = refresh_s
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._client: httpx.AsyncClient | None = None
        self._keys: KeySet | None = None
        self._backoff = Backoff(2 * pause_s, refresh_s, spread=(1, 1))
        self._outage = Outage(
            logger,
            away=f"the issuer's keys can't be fetched from {url}",
            back="the issuer's keys can be fetched again",
        )
        self._next_fetch_s = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names; one that is not known is looked for at the issuer.

        Raises:
            IssuerAwayError: The issuer is away, so that nobody knows whether it has such a key.
        """
        key = self._known(kid, algorithm)
        if key is None:
            await self._refresh()
            key = self._known(kid, algorithm)
        if key is None and (self._backoff.failures or self._keys is None):
            raise IssuerAwayError(max(1.0, self._next_fetch_s - self._clock_s()))
        return key

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the set fresh meanwhile. The first fetch begins at once; nobody waits for it here."""
        # No timeout of its own: it would be one for each step, and the whole has one.
        async with httpx.AsyncClient(
            headers={"accept": "application/json"},
            timeout=None,  # noqa: S113
            mounts=unproxied(self._url),
        ) as client:
            self._client = client
            keeper = asyncio.create_task(self._keep_fresh())
            try:
                yield
            finally:
                tasks = [task for task in (keeper, self._fetch) if task is not None]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._client = None

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        return self._keys.key(kid, algorithm) if self._keys is not None else None

    async def _keep_fresh(self) -> None:
        """Fetch the set now and then; sooner where the last fetch failed, but ever less often."""
        while True:
            await self._refresh()
            await asyncio.sleep(self._backoff.wait_s or self._refresh_s)

    async def _refresh(self) -> None:
        """Wait for the fetch that is under way, or for a new one; return at once in the pause after one."""
        if self._fetch is None or self._fetch.done():
            now_s = self._clock_s()
            if self._client is None or now_s < self._next_fetch_s:
                return
            self._next_fetch_s = now_s + self._pause_s
            self._fetch = asyncio.create_task(self._fetch_keys(self._client))
        # Not awaited itself: a request that ends early must not end the fetch for the others.
        await asyncio.wait({self._fetch})

    async def _fetch_keys(self, client: httpx.AsyncClient) -> None:
        """Replace the set by the issuer's. When that fails, say so once, and keep it."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                keys, passed_over = read_jwks(await self._download(client))
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            self._failed(error)
            return
        self._outage.end()
        if self._keys is None:
            for reason in passed_over:
                logger.info("ignored a key of the issuer: %s", reason)
        self._keys = keys
        self._backoff.succeeded()

    async def _download(self, client: httpx.AsyncClient) -> bytes:
        """Return the document.

        Raises:
            httpx.HTTPError: It can't be had.
            ValueError: It is too large.
        """
        document = bytearray()
        async with client.stream("GET", self._url) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise ValueError(f"it has more than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(document)

    def _failed(self, error: Exception) -> None:
        self._backoff.failed(self._clock_s())
        still = "tokens can't be checked" if self._keys is None else "the last ones stay in use"
        self._outage.begin(f"{str(error) or type(error).__name__}: {still}")


def checked_url(url: str) -> str:
    """Return the address, when it is one of HTTP.

    Args:
        url: As it was set.

    Raises:
        WrongSettingError: It is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise WrongSettingError("TOKENWIRE_JWT_JWKS_URL must be a URL") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise WrongSettingError("TOKENWIRE_JWT_JWKS_URL must be an https:// or http:// URL")
    return url
