"""Plans: what is asked of the database and computed from it, without touching one.

A plan is a generator that yields each `Query` it needs, is sent the `Rows`, and returns its result.
Whoever runs it decides what a query costs and who sees it: `Database.answer` just runs it,
`asking.Asking` shows each query as a tool call.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

SqlValue: TypeAlias = "str | int | None"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query:
    """One SQL statement. Its text comes from code, what varies is bound."""

    sql: str
    """The statement, with named parameters."""
    parameters: Mapping[str, SqlValue]
    """Their values."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query found."""

    columns: Sequence[str]
    """The columns' names."""
    rows: Sequence[Sequence[SqlValue]]
    """The rows; decimals and days are text."""

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield each row by column; text throughout, NULL as the empty text."""
        for row in self.rows:
            yield {
                name: "" if value is None else str(value)
                for name, value in zip(self.columns, row, strict=True)
            }


Plan: TypeAlias = Generator[Query, Rows, T]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A plan's result."""

    result: T


def advance(plan: Plan[T], rows: Rows | None) -> Query | Answer[T]:
    """Return the plan's next query, or its result.

    Args:
        plan: The plan.
        rows: What its last query found; None in the beginning.
    """
    try:
        return next(plan) if rows is None else plan.send(rows)
    except StopIteration as end:
        return Answer(end.value)
