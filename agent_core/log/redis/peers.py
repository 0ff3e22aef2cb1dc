"""The cores that share one Redis: leases, words, and the proof or the guess that one is gone.

A core is gone when its lease has run out, or when its process is, on this machine. A lease that has run out
says so only to one who has seen Redis well for as long as a lease stands: after an
outage everybody's has run out, and everybody renews it first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import RedisError

from agent_core.log.errors import LogFullError, LogOpenError
from agent_core.log.peers import PeerListener, PeerMessage
from agent_core.log.process_identity import ProcessIdentity, is_certainly_gone, own_identity, parse_identity
from agent_core.log.redis.calls import Call
from agent_core.log.redis.committer import Committer
from agent_core.log.redis.connection import away, make_client
from agent_core.log.redis.keys import Keys
from agent_core.log.redis.lease import RENEW_S, TTL_S, UNHEARD, Lease, Letter, Peer, Renewal
from agent_core.log.redis.run_cache import GONE_S
from tokenwire.outage import Repeats

PROOF_S: Final = 0.25
"""How often the processes of other cores on this machine are looked at."""

INBOX_MS: Final = 60_000
"""How long words wait for a core that does not read them."""

logger = logging.getLogger(__name__)


class RedisPeers:
    """The other cores, from the event loop of this one.

    Args:
        url: Where Redis is.
        keys: The names of its keys.
        name: This core's.
        on_following: Called with a run, another core, and how many follow it there.
    """

    def __init__(
        self, url: str, keys: Keys, name: str, *, on_following: Callable[[str, str, int], None]
    ) -> None:
        self._url = url
        self._keys = keys
        self._name = name
        self._on_following = on_following
        self._process = own_identity()
        self._client: Any = make_client(url)
        self._committer = Committer(self._client)
        self._heard = UNHEARD
        self._lease = Lease(
            *(url, keys, name, str(self._process)),
            heard=lambda: self._heard,
            on_renewal=self._renewed_there,
        )
        self._peers: dict[str, Peer] = {}
        self._held = asyncio.Event()
        self._held_until = 0.0
        self._in_doubt = False
        self._failures = Repeats()
        self._settled_at = 0.0
        self._verifying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The name under which this core holds its lease."""
        return self._name

    async def start(self, listener: PeerListener) -> None:
        """Take the lease, and listen."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        try:
            await asyncio.to_thread(self._lease.start)
        except (RedisError, OSError) as error:
            raise LogOpenError(f"can't get a lease: {error}") from error
        self._watching = asyncio.create_task(self._watch(), name="watch other cores")

    async def aclose(self) -> None:
        """Give the lease back."""
        ending = {task for task in (self._watching, self._verifying, *self._tasks) if task is not None}
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        await asyncio.to_thread(self._lease.stop)
        await self._committer.aclose()
        await self._client.aclose()

    async def send(self, core: str, message: PeerMessage) -> bool:
        """Send a message to a core. Return whether it holds its lease."""
        keys = (self._keys.lease(core), self._keys.inbox(core))
        # Without a text as cores of earlier versions read it.
        word = json.dumps(message if message.text else message[:4])
        call = Call("tell", keys, (word, self._keys.wake(core), INBOX_MS))
        return bool(await self._committer.run(call))

    async def forget(self, core: str) -> None:
        """Remember a lost core no longer."""
        keys = self._keys
        owned = (keys.lease(core), keys.cores, keys.inbox(core), keys.core_runs(core), keys.open_runs)
        if await self._committer.run(Call("forget", owned, (core, keys.prefix))):
            self._peers.pop(core, None)

    async def wait_for_lease(self) -> None:
        """Return once this core certainly holds its lease."""
        while self._verifying is not None or time.monotonic() >= self._held_until:
            self._held.clear()
            await self._held.wait()

    async def is_log_complete(self) -> bool:
        """Return whether Redis has all runs: not while cores write theirs again."""
        if time.monotonic() < self._settled_at:
            return False
        with away():
            # Of a Redis that was wiped just now, this core's lease is missing, too.
            return bool(await self._client.exists(self._keys.lease(self._name)))

    def look(self) -> None:
        """Look into the inbox now: something was put there."""
        task = asyncio.ensure_future(self._look())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        """Take what is in the inbox. The next renewal empties it."""
        try:
            with away():
                words = await self._client.xrange(self._keys.inbox(self._name), f"({self._heard}", "+")
        except Exception as error:  # noqa: BLE001 # the next renewal takes them
            logger.debug("messages of other cores are delayed: %s", error)
            return
        self._hear([Letter(word_id.decode(), fields[b"w"]) for word_id, fields in words])

    def _renewed_there(self, renewal: Renewal | Exception) -> None:
        """Pass on what the lease's thread has found."""
        self._loop.call_soon_threadsafe(partial(self._renewed, renewal))

    def _renewed(self, renewal: Renewal | Exception) -> None:
        """Do what a renewal asks for."""
        if isinstance(renewal, Exception):
            self._listener.on_log_away(renewal)
            return
        self._peers = {peer.core: peer for peer in renewal.peers}
        if not renewal.stood:
            self._heard = UNHEARD  # Another server may count from another time.
        self._hear(renewal.words)
        self._held_until = renewal.held_until
        if not (renewal.stood and renewal.sure):
            self._verify()
        self._held.set()
        if renewal.full:
            self._listener.on_log_away(LogFullError(renewal.full))
        else:
            self._listener.on_lease_renewed()
        if renewal.healthy_s >= TTL_S:
            for peer in renewal.peers:
                if not peer.alive:
                    self._listener.on_peer_lost(peer.core)

    def doubt(self) -> None:
        """Find out which runs are still this core's: Redis was away, and another one may have come back."""
        if self._watching is not None:
            self._verify()

    def _verify(self) -> None:
        """Have this core find out which runs are still its own."""
        if self._verifying is None:
            logger.warning("the lease may have expired, or the log was wiped: checking all runs")
        self._in_doubt = True
        self._settled_at = time.monotonic() + GONE_S
        if self._verifying is None:
            self._verifying = asyncio.create_task(self._verified(), name="verify runs")

    async def _verified(self) -> None:
        """Count the lease as held again once this core knows its runs."""
        while self._in_doubt:
            self._in_doubt = False  # Until it comes again in the meantime.
            try:
                await self._listener.on_lease_lost()
            except Exception:  # a bug: it waits out a log that is away by itself
                logger.exception("can't check which runs still belong to this core")
                self._in_doubt = True
                await asyncio.sleep(RENEW_S)
        self._verifying = None
        self._held.set()

    def _hear(self, words: Sequence[Letter]) -> None:
        """Pass on the words that were not heard yet: one can be fetched twice."""
        for letter in words:
            if _place(letter.id) > _place(self._heard):
                self._heard = letter.id
                message = PeerMessage(*json.loads(letter.text))
                if message.kind == "following":
                    self._on_following(message.run_id, message.core, message.followers)
                self._listener.on_message(message)

    async def _watch(self) -> None:
        """Look whether the processes of other cores on this machine are gone."""
        while True:
            await asyncio.sleep(PROOF_S)
            for peer in tuple(self._peers.values()):
                other = parse_identity(peer.process)
                if other is not None and self._is_gone(other):
                    await self._bury(peer)

    def _is_gone(self, other: ProcessIdentity) -> bool:
        return is_certainly_gone(other, self._process)

    async def _bury(self, peer: Peer) -> None:
        """Take the lease from a core whose process is gone, so that its runs can be reaped now."""
        try:
            with away():
                await self._client.delete(self._keys.lease(peer.core))
        except Exception as error:  # noqa: BLE001 # the next look does it
            self._failures.log(logger, logging.WARNING, "a lost core keeps its lease: %s", error)
            return
        self._peers.pop(peer.core, None)
        self._listener.on_peer_lost(peer.core)


def _place(word_id: str) -> tuple[int, int]:
    """Return what ids of a stream are compared by."""
    milliseconds, _, number = word_id.partition("-")
    return int(milliseconds), int(number)
