"""Runs as the Python client reads them, on both ways to a server."""

from __future__ import annotations

from tests.support.proxy import Proxy
from tests.support.stack import Stack
from tokenwire import events
from tokenwire.client import Item, Run

WAYS = ("sse", "grpc")
"""Through an edge, and at a core."""


def url_of(stack: Stack, way: str) -> str:
    """Return the address that a client of the way is given."""
    return stack.url if way == "sse" else f"grpc://127.0.0.1:{stack.core.port}"


def behind(proxy: Proxy, way: str) -> str:
    """Return the same through a proxy."""
    return proxy.url if way == "sse" else f"grpc://{proxy.address}"


async def read(run: Run) -> list[Item]:
    """Read a run to its end."""
    return [item async for item in run.items()]


def sequences_of(items: list[Item]) -> list[int]:
    """Return the numbers of the events; of a merged one, those of all its parts."""
    numbers: list[int] = []
    for item in items:
        number = int(item.id.rpartition(".")[2])
        first: int | None = getattr(item.event, "first", None)
        numbers += range(first or number, number + 1)
    return numbers


def assert_whole(items: list[Item], text: str) -> None:
    """Each event once and in order, all of the text, and one end."""
    assert sequences_of(items) == list(range(1, int(items[-1].id.rpartition(".")[2]) + 1))
    pieces = [item.event.content for item in items if isinstance(item.event, events.TextDelta)]
    assert "".join(pieces) == text
    assert [item.is_terminal for item in items].count(True) == 1
    assert isinstance(items[-1].event, events.Done)
