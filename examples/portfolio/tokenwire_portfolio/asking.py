"""A plan that is run in sight of the user: each query is a tool call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final, Generic, TypeVar

from agent_core.agents import JsonValue, ToolResult, ToolStart
from agent_core.agents.tool_span import ToolSpan
from tokenwire_portfolio.database import Database
from tokenwire_portfolio.plan import Answer, Plan, Query, Rows, advance

TOOL: Final = "query_database"
"""The tool's name in events and spans; the seed's word."""

MAX_ROWS_SHOWN: Final = 20
"""Rows of a result that its event shows. `rowCount` says how many there were."""

T = TypeVar("T")


class Asking(Generic[T]):
    """The events of a plan: `ToolStart` and `ToolResult` of each query, in turn.

    When the last event was read, `result` is there. It is an iterator and no generator: it may be
    left at any time, and there is nothing to close.

    Args:
        plan: What to run.
        database: Where.
        numbers: Gives each query its number within the run.
    """

    def __init__(self, plan: Plan[T], database: Database, numbers: Iterator[int]) -> None:
        self._plan = plan
        self._database = database
        self._numbers = numbers
        self._rows: Rows | None = None
        self._call: tuple[str, Query] | None = None
        self._failure: Exception | None = None
        self._answer: Answer[T] | None = None

    @property
    def result(self) -> T:
        """The plan's result, once all events were read."""
        if self._answer is None:
            raise RuntimeError("the plan's events were not all read")
        return self._answer.result

    def __aiter__(self) -> Asking[T]:
        return self

    async def __anext__(self) -> ToolStart | ToolResult:
        if self._failure is not None:
            raise self._failure
        if self._call is None:
            return await self._begin()
        (call_id, query), self._call = self._call, None
        try:
            with ToolSpan(TOOL, call_id):
                self._rows = await self._database.select(query)
        except Exception as error:  # noqa: BLE001 # raised by the next call, after the result's event
            self._failure = error
            return ToolResult(call_id, TOOL, "The query failed.", is_error=True)
        return ToolResult(call_id, TOOL, shown(self._rows))

    async def _begin(self) -> ToolStart:
        """Return the start of the plan's next query; without one, keep the result and stop."""
        step = await self._database.run(advance, self._plan, self._rows)
        if isinstance(step, Answer):
            self._answer = step
            raise StopAsyncIteration
        call_id = f"query-{next(self._numbers)}"
        self._call = (call_id, step)
        return ToolStart(call_id, TOOL, {"sql": step.sql, "parameters": dict(step.parameters)})


class Desk:
    """A run's access to the database.

    Args:
        database: The open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = count(1)

    def ask(self, plan: Plan[T]) -> Asking[T]:
        """Return the events of a plan, which also hold its result."""
        return Asking(plan, self._database, self._numbers)

    @property
    def database(self) -> Database:
        """The database, for work that belongs into its thread."""
        return self._database


def shown(rows: Rows) -> JsonValue:
    """Return what a result's event shows of the rows."""
    return {
        "columns": list(rows.columns),
        "rows": [list(row) for row in rows.rows[:MAX_ROWS_SHOWN]],
        "rowCount": len(rows.rows),
    }
