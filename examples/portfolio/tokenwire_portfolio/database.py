"""The sample database: built from the CSV files, and read-only from then on."""

from __future__ import annotations

import asyncio
import csv
import functools
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from agent_core.agents import AgentError
from tokenwire_portfolio.plan import Answer, Plan, Query, Rows, advance

DATA: Final[Traversable] = resources.files("tokenwire_portfolio") / "data"

_TABLES: Final = ("currencies", "instruments", "portfolios", "limits", "holdings", "transactions")
_WIDE_TABLES: Final = ("prices", "fx_rates")
"""One line a day and one column a subject, so that a diff shows one day as one line."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Database:
    """A SQLite file of the sample data, in a temporary folder, as long as this is entered.

    All queries run one after the other in one thread, which also opens and closes the connection:
    they take milliseconds, and a caller that is cancelled never leaves one behind a closed connection.

    Args:
        data: The folder with `schema.sql` and the CSV files.
    """

    def __init__(self, data: Traversable = DATA) -> None:
        self._data = data
        self._thread: ThreadPoolExecutor | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="portfolio")
        try:
            await self.run(self._open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._close()

    async def select(self, query: Query) -> Rows:
        """Return what a query finds.

        Raises:
            AgentError: UNAVAILABLE, when the database is not open.
            sqlite3.Error: The query is wrong, or would write.
        """
        return await self.run(self._select, query)

    async def answer(self, plan: Plan[_T]) -> _T:
        """Return a plan's result, asking its queries."""
        step = await self.run(advance, plan, None)
        while not isinstance(step, Answer):
            step = await self.run(advance, plan, await self.select(step))
        return step.result

    def tool(self, plan: Callable[_P, Plan[_T]]) -> Callable[_P, Awaitable[_T]]:
        """Return an async function that answers a plan: with its name, docstring and parameters.

        Args:
            plan: A function of `tokenwire_portfolio.queries`, such as those in its `TOOLS`.
        """

        @functools.wraps(plan)
        async def ask(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return await self.answer(plan(*args, **kwargs))

        return ask

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns, called in the database's thread.

        Raises:
            AgentError: UNAVAILABLE, when the database is not open.
        """
        if self._thread is None:
            raise AgentError("UNAVAILABLE", "The portfolio database is not open.", retryable=True)
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _select(self, query: Query) -> Rows:
        assert self._connection is not None  # noqa: S101 # it is closed behind the last query
        with closing(self._connection.execute(query.sql, query.parameters)) as cursor:
            return Rows(tuple(column[0] for column in cursor.description or ()), cursor.fetchall())

    def _open(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tokenwire-portfolio-")
        path = Path(self._folder.name, "portfolio.sqlite")
        build(path, self._data)
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        self._connection.execute("PRAGMA query_only = ON")

    async def _close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            closed = asyncio.wrap_future(thread.submit(self._release))
            thread.shutdown(wait=False)  # takes nothing new; what is queued still runs
            await asyncio.shield(closed)

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def build(path: Path, data: Traversable) -> None:
    """Write the database that the CSV files describe.

    Args:
        path: A file that does not exist yet.
        data: The folder with `schema.sql` and the CSV files.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")  # What a crash leaves behind is not used again.
        connection.executescript((data / "schema.sql").read_text(encoding="utf-8"))
        for table in _TABLES:
            _insert(
                connection, table, ([text or None for text in line.values()] for line in _lines(data, table))
            )
        for table in _WIDE_TABLES:
            _insert(connection, table, _cells(data, table))


def _lines(data: Traversable, table: str) -> Iterable[dict[str, str]]:
    """Return the lines of a table's file. Its columns stand in the table's order."""
    text = (data / f"{table}.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _cells(data: Traversable, table: str) -> Iterator[list[str | None]]:
    """Yield the rows that the cells of a wide table's file are."""
    for line in _lines(data, table):
        day = line.pop("day")
        for subject, text in line.items():
            if text:
                yield [subject, day, text]


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[list[str | None]]) -> None:
    """Insert rows of as many values as the table has columns."""
    (columns,) = connection.execute("SELECT count(*) FROM pragma_table_info(?)", (table,)).fetchone()
    places = ", ".join("?" * columns)
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 # names from this module
