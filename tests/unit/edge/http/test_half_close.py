"""What is done about a client that has ended its own side of a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from edge.http.half_close import HalfClose


class Transport:
    """What `HalfClose` asks of a transport."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.connection}[name]

    def is_closing(self) -> bool:
        return self.connection.fileno() < 0

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A connection whose client stays connected, and says nothing."""
    here, there = socket.socketpair()
    with here, there:
        yield Transport(here)


def half_close_of(transport: Transport) -> HalfClose:
    return HalfClose(cast(asyncio.Transport, transport), asyncio.get_running_loop())


async def test_a_response_that_begins_after_the_connection_was_lost_is_not_asked(
    transport: Transport,
) -> None:
    """It would be for ever: nothing more comes of such a connection that could stop it."""
    half_close, probes = half_close_of(transport), asyncio.Semaphore(0)
    half_close.end()
    transport.connection.close()
    half_close.stop()
    half_close.probe_with(probes.release)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(probes.acquire(), 0.05)


async def test_a_response_that_begins_after_the_side_has_ended_is_asked_again_and_again(
    transport: Transport,
) -> None:
    """Until it has ended."""
    half_close, probes = half_close_of(transport), asyncio.Semaphore(0)
    half_close.end()
    half_close.probe_with(probes.release)
    async with asyncio.timeout(10):
        for _ in range(4):
            await probes.acquire()
    half_close.stop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(probes.acquire(), 0.2)
    assert not transport.aborted
