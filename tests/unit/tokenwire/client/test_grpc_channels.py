"""Connections to cores: which one is used, and when one is closed."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.client.grpc_channels import Connections
from tokenwire.client.transport import Credentials


class FakeChannel:
    """Tells whether it was closed."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """Connections to two cores."""

    def channel(_: object, target: str) -> Any:
        return FakeChannel(target)

    monkeypatch.setattr(Connections, "_channel", channel)
    return Connections(("a:1", "b:1"), Credentials(), tls=False)


def is_closed(channel: Any) -> bool:
    return bool(channel.is_closed)


async def test_after_a_failure_the_next_core_is_used_with_a_new_channel(connections: Connections) -> None:
    """The last one is followed by the first: it may be back."""
    used = []
    for _ in range(3):
        connection = connections.current
        assert connections.current is connection
        used.append(connection.target)
        await connections.turn(connection)
        assert is_closed(connection.channel)
    assert used == ["a:1", "b:1", "a:1"]


async def test_a_connection_that_failed_stays_open_for_its_other_calls(connections: Connections) -> None:
    """One run's failure must not end the others: the channel is closed with the last of them."""
    connection = connections.current
    async with connection.in_use():
        async with connection.in_use() as channel:
            await connections.turn(connection)
            assert connections.current is not connection
        assert not is_closed(channel)
    assert is_closed(channel)


async def test_many_calls_that_fail_together_turn_once(connections: Connections) -> None:
    """Else as many cores as calls would be passed over."""
    failed = connections.current
    for _ in range(3):
        await connections.turn(failed)
    assert connections.current.target == "b:1"


async def test_it_is_out_of_reach_once_each_core_was_tried(connections: Connections) -> None:
    """And no longer once one has answered."""
    assert not connections.is_out_of_reach
    await connections.turn(connections.current)
    assert connections.is_out_of_reach
    connections.was_reached = True
    assert not connections.is_out_of_reach


async def test_closing_closes_the_present_connection(connections: Connections) -> None:
    """A client that was never used has none."""
    await connections.aclose()
    channel = connections.current.channel
    await connections.aclose()
    assert is_closed(channel)
