"""The waterfall in a terminal: a row per token, with a bar of one mark per hop and share of the time.

Each hop has its own letter as well as its own colour, so that it reads without colours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.text import Text

from tokenwire.latency.stages import HOPS, Hop
from tokenwire.traces.rows import Row
from tokenwire.traces.streams import Stall, Stream, gaps
from tokenwire.traces.words import NS_PER_MS, duration, error_words, listing, since

MARKS: Final[dict[Hop, str]] = {
    "model": "m",
    "log": "o",
    "send": "s",
    "link": "=",
    "write": "w",
    "browser": "b",
}
STYLES: Final[dict[Hop, str]] = {
    "model": "black on blue",
    "log": "black on cyan",
    "send": "black on green",
    "link": "black on yellow",
    "write": "black on magenta",
    "browser": "black on white",
}
STALL_STYLE: Final = "bold red"
FAINT: Final = "dim"

END_ROWS: Final = 5
"""How many rows of each end of a long stream are shown."""

AROUND_STALL: Final = 2
LONGEST_GAPS: Final = 5
UNUSUAL: Final = 2
"""How many times the median a gap must be to be of interest, unless it is the longest."""

LEAST_BAR: Final = 16
"""Marks that a bar has room for at least, however narrow the terminal."""

_HEAD: Final = ("token", "at", "gap")


def stall_words(stall: Stall) -> str:
    """Return what a stall was, after its token."""
    return listing(
        (
            f"{stall.hop}, {duration(stall.ms * NS_PER_MS)}",
            f"{stall.behind:,} behind" if stall.behind else "",
            f"cause {stall.cause}" if stall.cause else "",
            "open when the stream ended" if stall.is_open else "",
        )
    )


def legend() -> Text:
    """Return which mark and colour is which hop."""
    text = Text("hops  ")
    for hop in HOPS:
        text.append(f" {MARKS[hop]} ", STYLES[hop]).append(f" {hop}   ")
    text.rstrip()
    return text


def waterfall(stream: Stream, width: int, *, show_all: bool) -> Iterator[Text]:
    """Yield the lines of a stream's waterfall.

    Args:
        stream: With at least one row.
        width: Columns of the terminal.
        show_all: Whether each row is shown, not only those of interest.
    """
    shown = list(range(len(stream.rows))) if show_all else interesting(stream)
    stalls = {stall.sequence: stall for stall in reversed(stream.stalls)}
    cells = [_cells(stream, stream.rows[i]) for i in shown]
    widths = [max(map(len, column)) for column in zip(_HEAD, *cells, strict=True)]
    notes = [_note(stream.rows[i], stalls.get(stream.rows[i].sequence)) for i in shown]
    room = width - len(_columns(_HEAD, widths)) - 3
    scale = _scale([_total(stream.rows[i]) for i in shown], notes, room)
    yield Text(f"{_columns(_HEAD, widths)}  one mark: {duration(scale)}", FAINT)
    before = -1
    for i, row_cells, note in zip(shown, cells, notes, strict=True):
        yield from _between(stream.rows, before, i)
        row = stream.rows[i]
        line = Text(f"{_columns(row_cells, widths)}  ")
        line.append_text(bar(row, scale))
        if note:
            line.append(f" {note}", STALL_STYLE if row.sequence in stalls else FAINT)
        yield line
        before = i
    yield from _open_stalls(stream)


def bar(row: Row, scale: float) -> Text:
    """Return a row's bar: as many marks for each hop as its time has, the longest hop's at least.

    Args:
        row: Its hops; a negative one has no mark.
        scale: Nanoseconds of one mark.
    """
    line = Text()
    for hop, marks in _shares(row, scale).items():
        line.append(MARKS[hop] * marks, STYLES[hop])
    return line


def _scale(totals: Sequence[int], notes: Sequence[str], room: int) -> float:
    """Return how many nanoseconds a mark stands for, so that each bar and the note behind it fit the room."""
    rooms = [max(LEAST_BAR, room - len(note) - bool(note)) for note in notes]
    return max(1.0, *(total / columns for total, columns in zip(totals, rooms, strict=True)))


def interesting(stream: Stream) -> list[int]:
    """Return the indices of the rows of interest: both ends, stalls, the longest gaps, where replay ends."""
    rows = stream.rows
    index = {row.sequence: i for i, row in enumerate(rows)}
    picked = {*range(END_ROWS), *range(len(rows) - END_ROWS, len(rows))}
    for stall in stream.stalls:
        if (i := index.get(stall.sequence)) is not None:
            picked.update(range(i - AROUND_STALL, i + AROUND_STALL + 1))
    for i in _longest_gaps(stream):
        picked.update((i - 1, i))
    for i in range(1, len(rows)):
        if rows[i].is_replayed != rows[i - 1].is_replayed:
            picked.update((i - 1, i))
    kept = sorted(i for i in picked if 0 <= i < len(rows))
    # A single row takes as much room as the line that would tell of it.
    return sorted({*kept, *(i + 1 for i, after in itertools.pairwise(kept) if after == i + 2)})


def _longest_gaps(stream: Stream) -> list[int]:
    """Return the indices of the rows after the longest gaps: the longest, and others far from usual."""
    spread = gaps(stream)
    if spread is None:
        return []
    between = [i for i, row in enumerate(stream.rows) if stream.is_between(row)]
    between.sort(key=lambda i: stream.rows[i].gap_ns or 0, reverse=True)
    usual = UNUSUAL * spread.p50_ns
    return [i for n, i in enumerate(between[:LONGEST_GAPS]) if n == 0 or (stream.rows[i].gap_ns or 0) > usual]


def _shares(row: Row, scale: float) -> dict[Hop, int]:
    """Return how many marks each hop gets: whole ones, and what is left over to the largest fractions."""
    exact = {hop: max(0, time) / scale for hop, time in row.hops.items()}
    if not exact:
        return {}
    marks = {hop: int(share) for hop, share in exact.items()}
    left_over = max(1, round(sum(exact.values()))) - sum(marks.values())
    for hop in sorted(exact, key=lambda hop: marks[hop] - exact[hop])[:left_over]:
        marks[hop] += 1
    return marks


def _open_stalls(stream: Stream) -> Iterator[Text]:
    """Yield a line for each stall of a token that was never written."""
    last = stream.rows[-1].sequence
    for stall in stream.stalls:
        if stall.sequence > last:
            yield Text(f"token {stall.sequence:,} was not written: stall {stall_words(stall)}", STALL_STYLE)


def _cells(stream: Stream, row: Row) -> tuple[str, str, str]:
    gap = "" if row.gap_ns is None else duration(row.gap_ns)
    return f"{row.sequence:,}", since(row.end_ns - stream.start_ns), gap


def _columns(cells: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _total(row: Row) -> int:
    return sum(max(0, time) for time in row.hops.values())


def _note(row: Row, stall: Stall | None) -> str:
    negative = [
        f"{hop} {duration(time)} {error_words(row.clock_of(hop))}"
        for hop, time in row.hops.items()
        if time < 0
    ]
    words = [
        f"◄ stall {stall_words(stall)}" if stall else "",
        row.note,
        "replayed" if row.is_replayed else "",
        f"one write of {row.same_write:,}" if row.same_write else "",
        *negative,
    ]
    return listing(words)


def _between(rows: Sequence[Row], before: int, after: int) -> Iterator[Text]:
    """Yield the lines that stand for what is not shown between two rows."""
    if left_out := rows[before + 1 : after]:
        replayed = sum(row.is_replayed for row in left_out)
        words = f"… {len(left_out):,} tokens, gaps ≤ {duration(max(row.gap_ns or 0 for row in left_out))}"
        yield Text(f"  {words}{f', {replayed:,} of them replayed' if replayed else ''}", FAINT)
    whole = rows[max(before, 0) : after + 1]
    missing = sum(b.sequence - a.sequence - 1 for a, b in itertools.pairwise(whole))
    if missing:
        yield Text(f"  … {missing:,} tokens have no row", STALL_STYLE)
