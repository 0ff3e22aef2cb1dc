"""The sample database."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import os
import shutil
import sqlite3
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from agent_core.agents import AgentError
from tokenwire_portfolio import TOOLS, Database, queries
from tokenwire_portfolio.database import DATA, build
from tokenwire_portfolio.plan import Query


async def place_of(database: Database) -> Path:
    rows = await database.select(Query("SELECT file FROM pragma_database_list", {}))
    return Path(str(rows.rows[0][0]))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM holdings",
        "INSERT INTO currencies VALUES ('XXX', 2)",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "DROP TABLE prices",
        "VACUUM",
    ],
)
async def test_it_can_not_be_written(database: Database, sql: str) -> None:
    """No statement changes it, whatever a later change of the code may try."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.select(Query(sql, {}))


async def test_it_can_not_be_written_with_query_only_off(database: Database) -> None:
    """The file itself is open for reading only: switching off the second lock opens nothing."""
    await database.select(Query("PRAGMA query_only = OFF", {}))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.select(Query("DELETE FROM holdings", {}))


async def test_leaving_it_removes_it() -> None:
    """The file is gone, its thread ends, and a late question is refused."""
    async with Database() as database:
        path = await place_of(database)
        assert path.exists()
    assert not path.parent.exists()
    with pytest.raises(AgentError) as caught:
        await database.answer(queries.list_portfolios())
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)
    for thread in threading.enumerate():
        if thread.name.startswith("portfolio"):
            thread.join()


async def test_leaving_it_lets_what_runs_end() -> None:
    """A query that was begun before is answered: the connection closes behind it."""
    async with Database() as database:
        asked = asyncio.create_task(database.select(Query(queries.PORTFOLIOS, {})))
        await asyncio.sleep(0)
    assert len((await asked).rows) == 6


async def test_broken_data_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it can't be built, entering raises and leaves nothing behind."""
    broken = tmp_path / "data"
    shutil.copytree(str(DATA), broken)
    with (broken / "currencies.csv").open("a", encoding="utf-8") as file:
        file.write("USD,2\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(sqlite3.IntegrityError):
        await Database(broken).__aenter__()
    assert os.listdir(tmp_path) == ["data"]  # noqa: PTH208 # in an async function pathlib is not allowed


def test_it_is_always_the_same(tmp_path: Path, sample: Path) -> None:
    """Two builds of the same files are the same bytes."""
    build(tmp_path / "again.sqlite", DATA)
    assert (tmp_path / "again.sqlite").read_bytes() == sample.read_bytes()


@pytest.mark.parametrize(("table", "subject"), [("prices", "symbol"), ("fx_rates", "currency")])
def test_each_cell_of_the_wide_files_is_a_row(raw: sqlite3.Connection, table: str, subject: str) -> None:
    """Day, column and text arrive as they stand in the file; empty cells do not."""
    header, *lines = csv.reader(io.StringIO((DATA / f"{table}.csv").read_text(encoding="utf-8")))
    cells = {
        (line[0], name, text)
        for line in lines
        for name, text in zip(header[1:], line[1:], strict=True)
        if text
    }
    found = raw.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
    assert {(row["day"], row[subject], row[2]) for row in found} == cells


def test_the_data_holds_together(raw: sqlite3.Connection) -> None:
    """Every reference has its target, and the cash of every transaction's currency is held."""
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    lost = """
        SELECT id FROM transactions AS t
        WHERE NOT EXISTS (SELECT 1 FROM holdings AS h
                          WHERE h.portfolio = t.portfolio AND h.symbol = 'CASH.' || t.currency)
           OR (t.symbol IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM holdings AS h WHERE h.portfolio = t.portfolio AND h.symbol = t.symbol))"""
    assert raw.execute(lost).fetchall() == []
    counts = "SELECT (SELECT count(*) FROM portfolios), (SELECT count(*) FROM instruments)"
    assert tuple(raw.execute(counts).fetchone()) == (6, 40)


async def test_plans_become_tools(database: Database) -> None:
    """Each keeps its name, docstring and parameters, which are texts, and its result is JSON for msgspec."""
    for plan in TOOLS:
        tool = database.tool(plan)
        assert tool.__name__ == plan.__name__
        assert tool.__doc__ == plan.__doc__
        parameters = inspect.signature(tool).parameters
        assert all(parameter.annotation == "str" for parameter in parameters.values())
        given = {"portfolio": "Pacific Growth"} if "portfolio" in parameters else {}
        assert msgspec.json.encode(await tool(**given))


async def test_tools_answer_with_types(database: Database) -> None:
    """Quantities and prices are decimals, days are dates."""
    held = await database.tool(queries.holdings)("PACG")
    share = next(holding for holding in held if holding.symbol == "CASC")
    assert (share.quantity, share.price_day) == (Decimal(9800), date(2026, 10, 9))


async def test_hostile_names_are_only_names(database: Database) -> None:
    """SQL in a name is neither run nor repeated as it was."""
    with pytest.raises(AgentError) as caught:
        await database.answer(queries.nav("x' OR '1'='1"))
    assert caught.value.code == "NOT_FOUND"
