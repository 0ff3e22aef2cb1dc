"""What spans say of a stream's tokens, read as the attributes' names promise it, and by nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from tests.support.otlp_sink import Received

STAGES: Final = ("model", "logged", "send", "recv", "write")
HOPS: Final = {"log": ("model", "logged"), "send": ("logged", "send"), "link": ("send", "recv")}
"""The hops between two stages of one event. Not the last: there a test's own client can be what is slow."""


class Row(NamedTuple):
    """One event's stamps."""

    stamps: dict[str, int]
    """By stage, in microseconds of the Unix time."""
    replayed: bool
    trace_id: str


class StallSpan(NamedTuple):
    """One stall."""

    hop: str
    sequence: int
    ms: float
    cause: str
    is_open: bool
    begin_nano: int
    end_nano: int
    behind: int
    parent: str
    trace_id: str


def rows_of(spans: Iterable[Received]) -> dict[int, Row]:
    """Return the rows of one trace's segments by their sequence.

    Raises:
        AssertionError: Two segments tell of the same event, or a segment is not well-formed.
    """
    rows: dict[int, Row] = {}
    for each in spans:
        if each.name == "tokens":
            found = _rows_of(each)
            assert not rows.keys() & found.keys(), "an event has one row"
            rows |= found
    return rows


def _rows_of(each: Received) -> dict[int, Row]:
    told = each.attributes
    first, count = told["tokenwire.tokens.first"], told["tokenwire.tokens.count"]
    t0_us, part_of_us = divmod(told["tokenwire.tokens.t0_unix_ns"], 1000)
    assert 1 <= count <= 128
    assert not part_of_us
    columns = {
        stage: list(accumulate(map(int, told[f"tokenwire.tokens.{stage}_us"].split(","))))
        for stage in STAGES
        if f"tokenwire.tokens.{stage}_us" in told
    }
    assert {len(column) for column in columns.values()} == {count}
    assert all(len(value) < 2048 for value in told.values() if isinstance(value, str))
    replayed, trace_id = told.get("tokenwire.tokens.replayed", False), each.span.trace_id.hex()
    return {
        first + i: Row({stage: t0_us + us[i] for stage, us in columns.items()}, replayed, trace_id)
        for i in range(count)
    }


def stalls_of(spans: Iterable[Received]) -> list[StallSpan]:
    """Return the stalls among spans, in the order in which they began."""
    found = []
    for each in spans:
        if not each.name.startswith("stall "):
            continue
        told = each.attributes
        hop = told["tokenwire.stall.hop"]
        assert each.name == f"stall {hop}"
        stall = StallSpan(
            hop,
            told["tokenwire.stall.sequence"],
            told["tokenwire.stall.ms"],
            told.get("tokenwire.stall.cause", ""),
            told.get("tokenwire.stall.open", False),
            each.span.start_time_unix_nano,
            each.span.end_time_unix_nano,
            told["tokenwire.stall.behind"],
            each.span.parent_span_id.hex(),
            each.span.trace_id.hex(),
        )
        assert abs((stall.end_nano - stall.begin_nano) / 1_000_000 - stall.ms) < 0.002, (
            "its length is its time"
        )
        found.append(stall)
    return sorted(found, key=lambda stall: stall.begin_nano)


def is_shown(stall: StallSpan, rows: Mapping[int, Row]) -> bool:
    """Return whether the stamps of a stalled event show that its hop took most of that time.

    The machine can be slow for one process alone, and so in one hop. What can't be is a stall that no stamp
    shows, or one in a hop that had nothing to carry.
    """
    stamps = rows[stall.sequence].stamps if stall.sequence in rows else {}
    if stall.is_open or stall.hop not in HOPS or not stamps.keys() >= set(HOPS[stall.hop]):
        return False
    begin, end = HOPS[stall.hop]
    return 2 * (stamps[end] - stamps[begin]) > stall.ms * 1000


def assert_rows(rows: dict[int, Row], sequences: Sequence[int], reread_from: int | None = None) -> None:
    """Say that there is a row for each of these events with all five stages, and that nothing goes back.

    Args:
        rows: The rows.
        sequences: The events.
        reread_from: The first event that a reader who fell behind may have been given from Redis: such
            events say when they were sent to the log, not when it accepted them.
    """
    assert sorted(rows) == list(sequences)
    for sequence, row in rows.items():
        assert tuple(row.stamps) == STAGES, f"event {sequence} has {tuple(row.stamps)}"
        times = list(row.stamps.values())
        assert times == sorted(times), f"event {sequence}: {row.stamps}"
    for stage in STAGES:
        told = range(sequences[0], reread_from) if stage == "logged" and reread_from else sequences
        for before, sequence in pairwise(told):
            back = rows[before].stamps[stage] - rows[sequence].stamps[stage]
            assert back <= 0, f"{stage} of {sequence} goes back: {rows[before]}, {rows[sequence]}"


def attributes_of_root(root: Received, prefix: str = "tokenwire.stream.") -> dict[str, Any]:
    """Return what a root says of its stream."""
    return {
        name.removeprefix(prefix): value for name, value in root.attributes.items() if name.startswith(prefix)
    }
