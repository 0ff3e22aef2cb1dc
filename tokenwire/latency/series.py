"""The stamps of one stream's events, from which its segments, gaps and stalls come.

An event is added when it comes, and written when the last hop is done with it. What is written together
shares that stamp. Each method is cheap, since all streams have a series, whether they are traced or not.

One module, since all of it works on the same rows, and on every token: a call into another object costs more
than what most of these methods do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, compress, pairwise
from operator import sub
from typing import Final, NamedTuple

from tokenwire.latency.quantiles import Quantiles
from tokenwire.latency.segments import MAX_ROWS, Segment
from tokenwire.latency.stages import HOPS, Hop

_LINK: Final = HOPS.index("link")

_SEQUENCE: Final = 0
_KIND: Final = 1
_STAMPS: Final = 2
"""Where in a row its sequence and its kind are, and where its stamps begin."""

OTHER: Final = 0
"""An event that is neither a token nor a break."""
DELTA: Final = 1
"""A token, or a few."""
BREAK: Final = 2
"""From here on one waits for something else than the model, a tool or a person: no gap goes across it."""
REPLAYED: Final = 3
REPLAYED_DELTA: Final = 4
"""Events that were in the log already when the stream's follow began: they have no live way."""


class Stall(NamedTuple):
    """A gap that was longer than a stream may have, and the hop that it is due to."""

    hop: Hop
    """The hop whose own time grew most against the token before."""
    sequence: int
    """The token that came late. Of an open one, the token that did not come."""
    begin_nano: int
    """When the token entered the hop, in nanoseconds of the monotonic clock."""
    end_nano: int
    """When it left it; of an open one, when the stream ended."""
    gap_nano: int
    """The gap at the last hop."""
    behind: int
    """How many events were queued behind the token."""
    open: bool = False

    @property
    def own_nano(self) -> int:
        """The hop's own time; of the hop `model`, its gap."""
        return self.end_nano - self.begin_nano


class Waits(NamedTuple):
    """How long live tokens took, in nanoseconds: what is counted of them."""

    gaps: Sequence[int]
    """The gap before each token at the last hop; none before the first, nor across a break."""
    hops: Sequence[Sequence[int]]
    """For each hop, in their order, the times of the tokens in it, ascending; those at the model in their
    order."""


class TokenSeries:
    """The stamps of one stream.

    Args:
        stall_nano: The longest gap that is no stall, in nanoseconds.
        on_segment: Given each segment once its rows are written; None where nobody wants them yet.
        on_waits: Given the times of live tokens that were written since the last time: now and then.
    """

    __slots__ = (
        "_counted",
        "_counted_token",
        "_cut_sequence",
        "_cut_stamps",
        "_least",
        "_notable_nano",
        "_on_segments",
        "_on_waits",
        "_rows",
        "_stall_nano",
        "_taken",
        "_writes",
        "add",
        "first_token_nano",
        "gaps",
        "last_token_nano",
        "link_offset_nano",
        "longest",
        "stalls",
        "tokens",
    )

    def __init__(
        self,
        *,
        stall_nano: int,
        on_segment: Callable[[Segment], None] | None = None,
        on_waits: Callable[[Waits], None] = lambda _: None,
    ) -> None:
        self._stall_nano = stall_nano
        self._on_segments = [on_segment] if on_segment is not None else []
        self._on_waits = on_waits
        # A row for each event: its sequence, its kind, and its stamps, as they came; and, as far as they are
        # written, the last stamps. Tuples in a list: to put five numbers into arrays takes six times as long.
        self._rows: list[tuple[int, ...]] = []
        self._writes: list[int] = []
        self._taken = 0
        # As far as was counted: the rows, and the first and the last stamp of the newest token.
        self._counted = 0
        self._counted_token: tuple[int, int] | None = None
        # Of what is not here any more: the newest event, and the newest token's stamps.
        self._cut_sequence = 0
        self._cut_stamps: tuple[int, ...] = ()
        self._notable_nano = 0
        self._least: list[int] = []  # what each hop but the first takes where nothing waits
        self.add: Callable[[tuple[int, ...]], None] = self._rows.append
        """Takes in an event: its sequence, what it is (`OTHER`, `DELTA` …), and the stamps of all stages but
        the last, in nanoseconds of the monotonic clock; 0 where one was not taken: it repeats the stage
        before it, the first one the next. A list's own method, since each token passes here."""
        self.link_offset_nano = 0
        """By how much the clock of `recv` is ahead of that of `send`, as far as is known. Alters no stamp."""
        self.tokens = 0
        """Live tokens that were written, text and reasoning deltas, as far as `count` has come."""
        self.stalls = 0
        """How many gaps were stalls."""
        self.first_token_nano: int | None = None
        """When the first token was written, replayed or live."""
        self.last_token_nano: int | None = None
        """When the newest live token was written; None where no gap begins there."""
        self.gaps = Quantiles()
        """The gaps at the last hop, as far as `count` has come."""
        self.longest: Stall | None = None
        """The longest gap, whether it was a stall or not."""

    @property
    def waiting(self) -> int:
        """How many events were added and are not written."""
        return len(self._rows) - len(self._writes)

    @property
    def last_sequence(self) -> int:
        """The newest event that was written; 0 for none."""
        written = len(self._writes)
        return self._rows[written - 1][_SEQUENCE] if written else self._cut_sequence

    def also_to(self, on_segment: Callable[[Segment], None]) -> None:
        """Have one more be given each segment."""
        self._on_segments.append(on_segment)

    def take(self) -> None:
        """Note that what was added is handed to the last hop."""
        self._taken = len(self._rows)

    def written_at_once(self, now: int) -> Stall | None:
        """Note that what was added was handed to the last hop, and that this is done with it.

        Args:
            now: In nanoseconds of the monotonic clock.

        Returns:
            The stall that ends here, if one does.
        """
        rows, writes, before = self._rows, self._writes, self.last_token_nano
        end = self._taken = len(rows)
        if (
            before is not None
            and now - before <= self._notable_nano
            and end - len(writes) == 1
            and rows[-1][_KIND] == DELTA
            and end < MAX_ROWS
        ):  # nearly always: one token, and nothing to say of it
            writes.append(now)
            self.last_token_nano = now
            return None
        return self.written(now)

    def written(self, now: int) -> Stall | None:
        """Note that the last hop is done with what was taken.

        Args:
            now: In nanoseconds of the monotonic clock.

        Returns:
            The stall that ends here, if one does: what is written together has one gap at most.
        """
        writes, end = self._writes, self._taken
        begin = len(writes)
        if begin == end:
            return None
        before = self.last_token_nano
        if end - begin == 1 and before is not None and self._rows[begin][_KIND] == DELTA:
            # Nearly always: one token, and not the first.
            writes.append(now)
            self.last_token_nano = now
            stall = self._judge(begin, now - before) if now - before > self._notable_nano else None
        else:
            writes += [now] * (end - begin)
            stall = self._look_for_gap(begin, end, now)
        if end >= MAX_ROWS:
            self._cut(whole=False)
        return stall

    def open_stall(self, now: int, hop: Hop) -> Stall | None:
        """Return the stall that is not over, if there is one.

        Args:
            now: When the stream ends, in nanoseconds of the monotonic clock.
            hop: What is waited for.
        """
        began = self.last_token_nano
        if began is None or now - began <= self._stall_nano:
            return None
        self.stalls += 1
        return Stall(
            hop, self.last_sequence + 1, began, now, now - began, max(0, self.waiting - 1), open=True
        )

    def count(self) -> None:
        """Count the tokens that were written since the last time."""
        begin, end = self._counted, len(self._writes)
        if begin == end:
            return
        self._counted = end
        _, kinds, *columns = self._columns(begin, end)
        tokens = kinds.count(DELTA)
        if tokens == end - begin:
            model_gaps, gaps = self._even_gaps(columns)
        else:
            model_gaps, gaps = self._gaps(kinds, columns)
            columns = [tuple(compress(column, map(DELTA.__eq__, kinds))) for column in columns]
        if not tokens:
            return
        self.tokens += tokens
        hops = [sorted(map(sub, later, earlier)) for earlier, later in pairwise(columns)]
        self._learn([hop[0] for hop in hops])
        if self.link_offset_nano and len(hops) >= _LINK:
            hops[_LINK - 1] = [nano - self.link_offset_nano for nano in hops[_LINK - 1]]
        self._on_waits(Waits(gaps, [model_gaps, *hops]))
        self.gaps.add(gaps)

    def finish(self) -> None:
        """Give away what is left: there is nothing more to come."""
        self._cut(whole=True)

    def drop(self) -> None:
        """Forget all rows: what comes from now on is a beginning."""
        self._rows.clear()
        self._writes.clear()
        self._taken = self._counted = 0
        self._counted_token = self.last_token_nano = None

    def _look_for_gap(self, begin: int, end: int, now: int) -> Stall | None:
        """Return the stall that ends with rows that were written together, if one does."""
        stall = None
        for row in range(begin, end):
            kind = self._rows[row][_KIND]
            if kind == DELTA:
                before, self.last_token_nano = self.last_token_nano, now
                if before is not None:
                    if now - before > self._notable_nano:
                        stall = self._judge(row, now - before) or stall
                elif self.first_token_nano is None:
                    self.first_token_nano = now
            elif kind == BREAK:
                self.last_token_nano = None
            elif kind == REPLAYED_DELTA and self.first_token_nano is None:
                self.first_token_nano = now
        return stall

    def _judge(self, row: int, gap: int) -> Stall | None:
        """Say which hop a gap is due to; return it where it is a stall."""
        stamps = self._stamps(row)
        if gap > self._stall_nano:
            self._learn(self._least_before(row))
        at = self._slowest(stamps, self._token_before(row))
        began = stamps[at - 1] if at else self._token_before(row)[0]
        if at == _LINK:
            began += self.link_offset_nano
        sequence, behind = self._rows[row][_SEQUENCE], len(self._rows) - row - 1
        judged = Stall(HOPS[at], sequence, began, stamps[at], gap, behind)
        if self.longest is None or gap > self.longest.gap_nano:
            self.longest = judged
            self._notable_nano = min(gap, self._stall_nano)
        if gap <= self._stall_nano:
            return None
        self.stalls += 1
        return judged

    def _slowest(self, stamps: tuple[int, ...], before: tuple[int, ...]) -> int:
        """Return the hop that most of the gap between two tokens is due to.

        The earliest end that the gap could have is known better from stage to stage: with what hops take
        at least, where nothing waits. The blame is the hop's that has put it off most. Time that a token took
        while the one before it was still under way has delayed nothing.

        Args:
            stamps: The token's.
            before: Those of the token before.
        """
        own = map(sub, before[1:], before)
        least = list(map(min, own, self._least)) if self._least else list(own)
        left, reached, put_off = sum(least), before[-1], []
        for stamp, usual in zip(stamps, (*least, 0), strict=True):
            earliest = max(reached, stamp + left)
            put_off.append(earliest - reached)
            reached, left = earliest, left - usual
        return put_off.index(max(put_off))

    def _stamps(self, row: int) -> tuple[int, ...]:
        return *_filled(self._rows[row][_STAMPS:]), self._writes[row]

    def _token_before(self, row: int) -> tuple[int, ...]:
        """Return the stamps of the live token before a row; there is one."""
        for before in range(row - 1, -1, -1):
            if self._rows[before][_KIND] == DELTA:
                return self._stamps(before)
        return self._cut_stamps

    def _least_before(self, row: int) -> list[int]:
        """Return what each hop but the first took at least, for the rows that are left before one."""
        columns = self._columns(max(0, row - MAX_ROWS), row)[_STAMPS:] if row else ()
        return [min(map(sub, later, earlier)) for earlier, later in pairwise(columns)]

    def _learn(self, least: list[int]) -> None:
        """Take in what each hop took at least of late: less at once, more little by little."""
        known = self._least or least
        least = least or known
        self._least = [
            new if new < old else old + (new - old) // 8 for new, old in zip(least, known, strict=True)
        ]

    def _columns(self, begin: int, end: int) -> list[Sequence[int]]:
        """Return some rows as columns: their sequences, their kinds, and their stamps of each stage."""
        rows = self._rows[begin:end]
        columns: list[Sequence[int]] = [*zip(*rows, strict=True)]
        stamps = columns[_STAMPS:]
        if not all(map(all, stamps)):
            columns[_STAMPS:] = zip(*map(_filled, zip(*stamps, strict=True)), strict=True)
        columns.append(self._writes[begin:end])
        return columns

    def _even_gaps(self, columns: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """Return the gaps between live tokens, with nothing among them, at the model and at the last hop."""
        models, writes = columns[0], columns[-1]
        before, self._counted_token = self._counted_token, (models[-1], writes[-1])
        if before is None:
            before = models[0], writes[0]
            return (
                list(map(sub, models[1:], models)),
                list(map(sub, writes[1:], writes)),
            )
        return (
            list(map(sub, models, chain((before[0],), models))),
            list(map(sub, writes, chain((before[1],), writes))),
        )

    def _gaps(self, kinds: Sequence[int], columns: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """Return the gaps between live tokens, none across a break, at the model and at the last hop."""
        model_gaps: list[int] = []
        gaps: list[int] = []
        before = self._counted_token
        for kind, model, write in zip(kinds, columns[0], columns[-1], strict=True):
            if kind == DELTA:
                if before is not None:
                    model_gaps.append(model - before[0])
                    gaps.append(write - before[1])
                before = model, write
            elif kind == BREAK:
                before = None
        self._counted_token = before
        return model_gaps, gaps

    def _cut(self, *, whole: bool) -> None:
        """Give away the segments that are complete; where nothing more comes, the rest as well."""
        self.count()
        written, cut = len(self._writes), 0
        while cut < written:
            end = self._end_of_run(cut, min(cut + MAX_ROWS, written))
            if end == written < cut + MAX_ROWS and not whole:
                break
            if self._on_segments:
                sequences, kinds, *stamps = self._columns(cut, end)
                segment = Segment(sequences[0], stamps, kinds[0] >= REPLAYED)
                for on_segment in self._on_segments:
                    on_segment(segment)
            cut = end
        if cut:
            self._forget(cut)

    def _end_of_run(self, begin: int, most: int) -> int:
        """Return where consecutive rows end that are all live or all replayed; `most` at the latest."""
        first, last = self._rows[begin], self._rows[most - 1]
        replayed = first[_KIND] >= REPLAYED
        # No row is replayed after a live one, and sequences grow.
        if last[_SEQUENCE] - first[_SEQUENCE] == most - 1 - begin and replayed == (last[_KIND] >= REPLAYED):
            return most
        for row in range(begin + 1, most):
            sequence, kind, *_ = self._rows[row]
            if sequence != first[_SEQUENCE] + row - begin or replayed != (kind >= REPLAYED):
                return row
        return most

    def _forget(self, rows: int) -> None:
        """Drop the oldest rows."""
        self._cut_sequence, self._cut_stamps = self._rows[rows - 1][_SEQUENCE], self._token_before(rows)
        del self._rows[:rows]
        del self._writes[:rows]
        self._taken -= rows
        self._counted -= rows


def _filled(stamps: tuple[int, ...]) -> tuple[int, ...]:
    """Return stamps in which one that was not taken repeats the one before it, the first the next."""
    filled, last = [], next(filter(None, stamps), 0)
    for stamp in stamps:
        last = stamp or last
        filled.append(last)
    return tuple(filled)
