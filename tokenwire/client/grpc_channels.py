"""Connections to cores that serve the same runs: one at a time is used for new calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc
import grpc.aio

from tokenwire.addresses import channel_options
from tokenwire.client.errors import UnreachableError
from tokenwire.client.transport import Credentials

OPTIONS: Final = (
    # A peer that vanished silently is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A new channel connects at once, whatever the back-off of the one before.
    ("grpc.use_local_subchannel_pool", 1),
)
CONNECT_TIMEOUT_S: Final = 5.0

_CONNECTING: Final = frozenset({grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING})


class Connection:
    """A channel to one core, and the calls that use it.

    Args:
        target: The core, from `tokenwire.addresses.read_target`.
        channel: The channel, which this closes when it is retired and its last call has ended.
    """

    def __init__(self, target: str, channel: grpc.aio.Channel) -> None:
        self.target = target
        self.channel = channel
        self.is_connected = False
        """Whether it was connected when it was last used."""
        self._calls = 0
        self._is_retired = False

    @property
    def place(self) -> str:
        """The core, for messages."""
        return f"the core at {self.target}"

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[grpc.aio.Channel]:
        """Keep the channel open for one call."""
        self._calls += 1
        try:
            yield self.channel
        finally:
            self._calls -= 1
            await self._close_if_unused()

    async def retire(self) -> None:
        """Close the channel once its last call has ended: other runs may still be read over it."""
        self._is_retired = True
        await self._close_if_unused()

    async def connect(self) -> None:
        """Return when the channel is connected, or has failed to be.

        Raises:
            UnreachableError: Neither within 5 s.
        """
        state = self.channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while state in _CONNECTING:
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except TimeoutError as error:
            raise UnreachableError(f"Can't reach {self.place}.") from error
        self.is_connected = state is grpc.ChannelConnectivity.READY

    async def _close_if_unused(self) -> None:
        if self._is_retired and not self._calls:
            await self.channel.close()


class Connections:
    """The cores, and the connection that new calls use.

    Args:
        targets: Their addresses, from `tokenwire.addresses.read_targets`.
        credentials: What authenticates the client: its TLS files are read here.
        tls: Whether to connect with TLS.
    """

    def __init__(self, targets: Sequence[str], credentials: Credentials, *, tls: bool) -> None:
        self.was_reached = False
        """Whether any core has ever answered."""
        self._targets = targets
        self._tls = _channel_credentials(credentials) if tls else None
        self._turns = 0
        self._current: Connection | None = None
        """Made within the event loop that uses it."""

    @property
    def is_alone(self) -> bool:
        """Whether there is no other core to ask."""
        return len(self._targets) == 1

    @property
    def is_out_of_reach(self) -> bool:
        """Whether all cores were tried, and none has ever answered."""
        return not self.was_reached and self._turns + 1 >= len(self._targets)

    @property
    def current(self) -> Connection:
        """The connection for new calls."""
        if self._current is None:
            target = self._targets[self._turns % len(self._targets)]
            self._current = Connection(target, self._channel(target))
        return self._current

    async def connect(self, connection: Connection) -> None:
        """Return when a connection is connected, or has failed to be.

        Raises:
            UnreachableError: Neither within 5 s.
        """
        await connection.connect()
        self.was_reached = self.was_reached or connection.is_connected

    async def turn(self, failed: Connection | None) -> None:
        """Use the next core for new calls, unless another call that failed has done so already.

        Args:
            failed: The connection over which a call failed.
        """
        if failed is None or failed is not self._current:
            return
        self._current = None
        self._turns += 1
        await failed.retire()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._current is not None:
            await self._current.channel.close()
            self._current = None

    def _channel(self, target: str) -> grpc.aio.Channel:
        options = (*OPTIONS, *channel_options(target))
        if self._tls is None:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, self._tls, options=options)


def _channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """Return how to check the cores' certificates, and what to show them."""
    files = (credentials.tls_ca, credentials.tls_key, credentials.tls_cert)
    return grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))
