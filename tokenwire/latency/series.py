"""The stamps of one stream's events, from which its segments, gaps and stalls come.

An event is added when it comes, and written when the last hop is done with it. What is written together
shares that stamp. Each method is cheap, since all streams have a series, whether they are traced or not.
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

OTHER: Final = 0
"""An event that is neither a token nor a break."""
DELTA: Final = 1
"""A token, or a few."""
BREAK: Final = 2
"""From here on one waits for something else than the model, such as a tool: no gap goes across it."""
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
    """For each hop, in their order, the time of each token in it."""


class TokenSeries:
    """The stamps of one stream.

    Args:
        stall_nano: The longest gap that is no stall, in nanoseconds.
        on_segment: Given each segment once its rows are written; None where nobody wants them yet.
        on_waits: Given the times of live tokens that were written since the last time: now and then.
    """

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
        # A row for each event, its kind, and, as far as they are written, its last stamp. Tuples in a list:
        # to put five numbers into arrays takes six times as long.
        self._rows: list[tuple[int, ...]] = []
        self._kinds = bytearray()
        self._writes: list[int] = []
        # Where consecutive sequences begin: row, sequence, whether replayed.
        self._starts: list[tuple[int, int, bool]] = []
        self._next_sequence = 0
        self._is_replayed = False
        self._taken = 0
        # Since the last count: the first row, the model stamp of the token before, and the gaps.
        self._counted = 0
        self._counted_model: int | None = None
        self._gaps: list[int] = []
        # The newest token that was written: its row, or its stamps where the row is gone.
        self._last_row = -1
        self._last_stamps: tuple[int, ...] = ()
        self._notable_nano = 0
        self._least: list[int] = []  # what each hop but the first takes where nothing waits
        self.link_offset_nano = 0
        """By how much the clock of `recv` is ahead of that of `send`, as far as is known. Alters no stamp."""
        self.tokens = 0
        """Live tokens that were written: text and reasoning deltas."""
        self.stalls = 0
        """How many gaps were stalls."""
        self._cut_sequence = 0  # the newest event whose row is gone
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
        return self._sequence_of(written - 1) if written else self._cut_sequence

    def also_to(self, on_segment: Callable[[Segment], None]) -> None:
        """Have one more be given each segment."""
        self._on_segments.append(on_segment)

    def add(self, sequence: int, kind: int, stamps: tuple[int, ...]) -> None:
        """Take in an event.

        Args:
            sequence: Its number.
            kind: What it is: `OTHER`, `DELTA` …
            stamps: Those of all stages but the last, in nanoseconds of the monotonic clock; 0 where one was
                not taken: it repeats the stage before it, the first one the next.
        """
        if sequence != self._next_sequence or self._is_replayed is not (kind >= REPLAYED):
            self._is_replayed = kind >= REPLAYED
            self._starts.append((len(self._rows), sequence, self._is_replayed))
        self._next_sequence = sequence + 1
        self._kinds.append(kind)
        self._rows.append(_filled(stamps) if 0 in stamps else stamps)

    def take(self) -> None:
        """Note that what was added is handed to the last hop."""
        self._taken = len(self._rows)

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
        before, kinds = self.last_token_nano, self._kinds
        if end - begin == 1 and kinds[begin] == DELTA and before is not None:
            # Nearly always: one token, and not the first.
            writes.append(now)
            gap = now - before
            self._gaps.append(gap)
            self.last_token_nano = now
            stall = self._judge(begin, gap) if gap > self._notable_nano else None
            self._last_row = begin
            self.tokens += 1
        else:
            writes += [now] * (end - begin)
            stall = self._look_for_gap(begin, end, now)
        if end >= MAX_ROWS or len(self._starts) > 1:
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
        self._on_waits(Waits(self._gaps, self._count_hops(begin, end)))
        self.gaps.add(self._gaps)
        self._gaps = []

    def finish(self) -> None:
        """Give away what is left: there is nothing more to come."""
        self._cut(whole=True)

    def _look_for_gap(self, begin: int, end: int, now: int) -> Stall | None:
        """Return the stall that ends with rows that were written together, if one does."""
        stall = None
        for row in range(begin, end):
            kind = self._kinds[row]
            if kind == DELTA:
                before, self.last_token_nano = self.last_token_nano, now
                if before is not None:
                    gap = now - before
                    self._gaps.append(gap)
                    if gap > self._notable_nano:
                        stall = self._judge(row, gap) or stall
                elif self.first_token_nano is None:
                    self.first_token_nano = now
                self._last_row = row
                self.tokens += 1
            elif kind == BREAK:
                self.last_token_nano = None
            elif kind == REPLAYED_DELTA and self.first_token_nano is None:
                self.first_token_nano = now
        return stall

    def _judge(self, row: int, gap: int) -> Stall | None:
        """Say which hop a gap is due to; return it where it is a stall."""
        stamps = self._stamps(row)
        before = self._last_stamps if self._last_row < 0 else self._stamps(self._last_row)
        if gap > self._stall_nano:
            self._learn(self._least_before(row))
        at = self._slowest(stamps, before)
        began = stamps[at - 1] if at else before[0]
        if at == _LINK:
            began += self.link_offset_nano
        judged = Stall(HOPS[at], self._sequence_of(row), began, stamps[at], gap, len(self._rows) - row - 1)
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
        return *self._rows[row], self._writes[row]

    def _sequence_of(self, row: int) -> int:
        begin, sequence, _ = next(start for start in reversed(self._starts) if start[0] <= row)
        return sequence + row - begin

    def _count_hops(self, begin: int, end: int) -> list[Sequence[int]]:
        """Return how long the live tokens among some rows took, a list for each hop."""
        columns = self._columns(begin, end)
        kinds = self._kinds[begin:end]
        if kinds.count(DELTA) < len(kinds):
            columns = [tuple(compress(column, map(DELTA.__eq__, kinds))) for column in columns]
        hops = [list(map(sub, later, earlier)) for earlier, later in pairwise(columns)]
        if columns[0]:
            self._learn([min(hop) for hop in hops])
        if self.link_offset_nano and len(hops) >= _LINK:
            hops[_LINK - 1] = [nano - self.link_offset_nano for nano in hops[_LINK - 1]]
        return [self._model_gaps(begin, end, columns[0]), *hops]

    def _least_before(self, row: int) -> list[int]:
        """Return what each hop but the first took at least, for the rows that are left before one."""
        columns = self._columns(max(0, row - MAX_ROWS), row) if row else ()
        return [min(map(sub, later, earlier)) for earlier, later in pairwise(columns)]

    def _learn(self, least: list[int]) -> None:
        """Take in what each hop took at least of late: less at once, more little by little."""
        known = self._least or least
        least = least or known
        self._least = [
            new if new < old else old + (new - old) // 8 for new, old in zip(least, known, strict=True)
        ]

    def _columns(self, begin: int, end: int) -> list[Sequence[int]]:
        """Return the stamps of some rows, a column for each stage."""
        return [*zip(*self._rows[begin:end], strict=True), self._writes[begin:end]]

    def _model_gaps(self, begin: int, end: int, models: Sequence[int]) -> list[int]:
        """Return the gaps between live tokens at the model, none of them across a break.

        Args:
            begin: The first row.
            end: The row after the last.
            models: The model stamps of the live tokens among them.
        """
        before = self._counted_model
        if models and before is not None and len(models) == end - begin:
            self._counted_model = models[-1]
            return list(map(sub, models, chain((before,), models)))
        gaps: list[int] = []
        for row in range(begin, end):
            kind = self._kinds[row]
            if kind == DELTA:
                model = self._rows[row][0]
                if before is not None:
                    gaps.append(model - before)
                before = model
            elif kind == BREAK:
                before = None
        self._counted_model = before
        return gaps

    def _cut(self, *, whole: bool) -> None:
        """Give away the segments that are complete; where nothing more comes, the rest as well."""
        self.count()
        written = len(self._writes)
        cut = 0
        while cut < written:
            begin, sequence, replayed = self._starts[0]
            ended = len(self._starts) > 1 and self._starts[1][0] <= written
            most = self._starts[1][0] if ended else written
            end = min(cut + MAX_ROWS, most)
            if end - cut < MAX_ROWS and not ended and not whole:
                break
            if self._on_segments:
                segment = Segment(sequence + cut - begin, self._columns(cut, end), replayed)
                for on_segment in self._on_segments:
                    on_segment(segment)
            cut, self._cut_sequence = end, sequence + end - begin - 1
            if ended and end == most:
                del self._starts[0]
        self._forget(cut)

    def _forget(self, rows: int) -> None:
        """Drop the oldest rows."""
        if not rows:
            return
        if 0 <= self._last_row < rows:
            self._last_stamps = self._stamps(self._last_row)
        self._last_row = max(-1, self._last_row - rows)
        del self._rows[:rows]
        del self._writes[:rows]
        del self._kinds[:rows]
        self._taken -= rows
        self._counted -= rows
        self._starts = [(begin - rows, sequence, replayed) for begin, sequence, replayed in self._starts]


def _filled(stamps: tuple[int, ...]) -> tuple[int, ...]:
    """Return stamps in which one that was not taken repeats the one before it, the first the next."""
    filled, last = [], next(filter(None, stamps), 0)
    for stamp in stamps:
        last = stamp or last
        filled.append(last)
    return tuple(filled)
