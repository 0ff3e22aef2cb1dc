"""What the portfolio's tests share: an open database, a raw connection to one, and an open agent."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tokenwire_portfolio import Database, PortfolioAgent
from tokenwire_portfolio.database import DATA, build


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample database as a file."""
    path = tmp_path_factory.mktemp("portfolio") / "sample.sqlite"
    build(path, DATA)
    return path


@pytest.fixture
def raw(sample: Path) -> Iterator[sqlite3.Connection]:
    """The sample database, past all of the product's code but the one that fills it."""
    with closing(sqlite3.connect(sample)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with Database() as opened:
        yield opened


@pytest.fixture
async def agent() -> AsyncIterator[PortfolioAgent]:
    async with PortfolioAgent() as opened:
        yield opened
