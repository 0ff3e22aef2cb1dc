"""This core's lease, renewed by a thread of its own: a busy event loop does not lose it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import ReadOnlyError, RedisError

from agent_core.log.redis.calls import Argument
from agent_core.log.redis.connection import close_blocking_client, make_blocking_client
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.lua import SCRIPTS

RENEW_S: Final = 1.0
TTL_S: Final = 5.0
"""How long a lease stands without being renewed: four renewals may fail."""

HELD_S: Final = 4.0
"""How long after a renewal was sent a core may act for its runs: less than its lease stands."""

logger = logging.getLogger(__name__)


UNHEARD: Final = "0-0"
"""Comes before the id of every word."""


class Letter(NamedTuple):
    """A word that another core has left."""

    id: str
    """Later ones have greater ones."""
    text: bytes


class Peer(NamedTuple):
    """Another core that has, or had, a lease."""

    core: str
    process: str
    """Its process, as it says."""
    alive: bool
    """Whether its lease stands."""


class Renewal(NamedTuple):
    """What a renewal has found."""

    stood: bool
    """False where the lease had run out, or the store was wiped."""
    sure: bool
    """False where an earlier renewal may have found that, whose answer was lost."""
    words: Sequence[Letter]
    """What other cores have said since the last word that was heard."""
    peers: Sequence[Peer]
    healthy_s: float
    """How long all renewals have succeeded, without a pause."""
    full: str
    """What Redis says where it has no memory for anything new; empty where it has."""
    held_until: float
    """Until when the lease is certainly held, in seconds of the monotonic clock."""


class Lease:
    """Keeps one core's lease.

    Args:
        url: Where Redis is.
        keys: The names of its keys.
        core: The core's name.
        process: Its process, for others on this machine.
        heard: Returns the id of the last word that was heard; called in the thread.
        on_renewal: Called in the thread, with what a renewal has found, or with why it failed.
    """

    def __init__(  # noqa: PLR0913 # whose it is, where, and who is to be asked and told
        self,
        url: str,
        keys: Keys,
        core: str,
        process: str,
        *,
        heard: Callable[[], str],
        on_renewal: Callable[[Renewal | Exception], None],
    ) -> None:
        self._keys = keys
        self._core = core
        self._process = process
        self._heard = heard
        self._on_renewal = on_renewal
        self._client = make_blocking_client(url)
        self._renew = self._client.register_script(SCRIPTS["renew"])
        self._leave = self._client.register_script(SCRIPTS["leave"])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._begun = False
        self._sure = True
        self._healthy_since = 0.0
        self._last_success = 0.0

    def start(self) -> None:
        """Take the lease, and keep it from now on. Blocks for one answer.

        Raises:
            RedisError: It can't be had.
            OSError: The same.
        """
        self._on_renewal(self._renewed())
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back. Blocks for at most a few seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._leave(keys=_keys_of(self._keys, self._core), args=[self._core])
        except (RedisError, OSError) as error:
            logger.warning("the lease was not released and will expire: %s", error)
        close_blocking_client(self._client)

    def _keep(self) -> None:
        """Renew until told to stop."""
        while not self._stopping.wait(RENEW_S):
            try:
                renewal: Renewal | Exception = self._renewed()
            except (RedisError, OSError) as error:
                self._last_success = 0.0
                # Perhaps it succeeded, and its answer, which is lost, said that the lease had run out.
                self._sure = False
                renewal = error
                if isinstance(error, ReadOnlyError):
                    # Of one that is a replica now: a new connection finds the primary.
                    self._client.connection_pool.disconnect()
            self._on_renewal(renewal)

    def _renewed(self) -> Renewal:
        """Renew the lease once."""
        sent = time.monotonic()
        arguments: list[Argument] = [
            *(self._core, self._process, int(TTL_S * 1000)),
            *(self._keys.prefix, self._heard()),
        ]
        keys = [self._keys.lease(self._core), self._keys.cores, self._keys.inbox(self._core)]
        stood, words, peers, full = self._renew(keys=keys, args=arguments)
        now = time.monotonic()
        if now - self._last_success > 2 * RENEW_S + 1:
            # The first one, or one after a failure, or after a pause of this process itself.
            self._healthy_since = now
        self._last_success = now
        first, self._begun = not self._begun, True
        sure, self._sure = self._sure, True
        return Renewal(
            stood=bool(stood) or first,
            sure=sure,
            words=[Letter(word_id.decode(), fields[1]) for word_id, fields in words],
            peers=_peers(peers),
            healthy_s=now - self._healthy_since,
            full=full.decode(),
            held_until=sent + HELD_S,
        )


def _keys_of(keys: Keys, core: str) -> list[str]:
    """Return a core's own keys, as `leave.lua` wants them."""
    return [keys.lease(core), keys.cores, keys.inbox(core), keys.core_runs(core)]


def _peers(flat: Sequence[Any]) -> list[Peer]:
    """Return what `renew.lua` tells of other cores: a name, a process and a flag each."""
    return [
        Peer(flat[at].decode(), flat[at + 1].decode(), bool(flat[at + 2])) for at in range(0, len(flat), 3)
    ]
