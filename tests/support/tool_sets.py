"""A tool set of an operator's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent_core.agents import AgentError

PRICES = {"apple": 2, "pear": 3}
OPEN: list[str] = []
"""Which shops are open."""


async def list_fruits() -> list[str]:
    """Return all fruits that there are."""
    assert OPEN
    return list(PRICES)


async def price(fruit: str) -> int:
    """Return the price of a fruit.

    Args:
        fruit: Its name.
    """
    if fruit not in PRICES:
        raise AgentError("NOT_FOUND", f"There is no {fruit}, there are {', '.join(PRICES)}.")
    return PRICES[fruit]


@asynccontextmanager
async def shop() -> AsyncIterator[Sequence[Callable[..., Awaitable[Any]]]]:
    OPEN.append("shop")
    try:
        yield [list_fruits, price]
    finally:
        OPEN.remove("shop")


async def calculate() -> str:
    """Return nothing of use: its name is that of another tool."""
    return ""


CLASHING = (calculate,)
