"""The tool set `portfolio`: queries of the sample database, for models that call tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tokenwire_portfolio.database import Database
from tokenwire_portfolio.queries import TOOLS


@asynccontextmanager
async def tools() -> AsyncGenerator[Sequence[Callable[..., Awaitable[Any]]]]:
    """Open the sample database and give the functions that ask it."""
    async with Database() as database:
        yield [database.tool(plan) for plan in TOOLS]
