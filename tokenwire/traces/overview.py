"""What stands around a waterfall in a terminal: head, span tree, summary by hop, and lists of streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.text import Text

from tokenwire.latency.stages import HOPS, Hop
from tokenwire.telemetry import attributes as names
from tokenwire.traces.rows import NS_PER_US, SAME_CLOCK, Clock
from tokenwire.traces.source import SHORT_ID, Head, outcome_of
from tokenwire.traces.spans import Node, Span, tree
from tokenwire.traces.streams import Spread, Stream, Trace, by_hop, core_shift, gaps
from tokenwire.traces.waterfall import FAINT, MARKS, STALL_STYLE, STYLES, legend, stall_words, waterfall
from tokenwire.traces.words import NS_PER_MS, clock_time, duration, error_words, listing, since

SAME_NAME: Final = 6
"""How many children of the same name a span of the tree shows."""

ABSENT: Final = "-"
_CORRECTED: Final = "times and hops here are corrected by it, stamps are not"
_CLOCKS: Final[Mapping[Hop, Callable[[Stream], Clock]]] = {
    "link": lambda stream: stream.clock,
    "browser": lambda stream: stream.browser_clock,
}
"""The hops that end at another clock than they begin at, and which."""


def trace_lines(trace: Trace, width: int, *, show_all: bool) -> Iterator[Text]:
    """Yield all lines of a trace.

    Args:
        trace: What is shown.
        width: Columns of the terminal.
        show_all: Whether each row of its streams is shown.
    """
    yield from _identity(trace)
    yield Text()
    yield from tree_lines(trace)
    for stream in trace.streams:
        yield Text()
        yield from stream_lines(stream, width, show_all=show_all)
    for stall in trace.stray_stalls:
        yield Text(
            f"stall: token {stall.sequence}, {stall_words(stall)}, seen by another stream", STALL_STYLE
        )
    if not trace.streams:
        yield Text()
        yield Text("No stream in this trace: no span has tokens.")
    if trace.others:
        yield Text()
        yield Text("Other streams of this run:")
        yield from list_lines(trace.others)


def stream_lines(stream: Stream, width: int, *, show_all: bool) -> Iterator[Text]:
    """Yield a stream's head, stalls, waterfall and summary."""
    yield from _stream_head(stream)
    for stall in stream.stalls:
        yield Text(f"stall: token {stall.sequence}, {stall_words(stall)}", STALL_STYLE)
    if not stream.rows:
        yield Text(
            "No tokens in this stream's spans (TOKENWIRE_TRACE_DETAIL=off, or it ended before the first)."
        )
        return
    yield Text()
    yield legend()
    yield from waterfall(stream, width, show_all=show_all)
    yield Text()
    yield from summary_lines(stream)


def summary_lines(stream: Stream) -> Iterator[Text]:
    """Yield how the time in each hop is spread, with each hop's name whether it was stamped or not."""
    spreads = by_hop(stream)
    table: list[Sequence[str]] = [("hop", "count", "p50", "p99", "max", "at token")]
    table += [(hop, *_spread_cells(spreads.get(hop))) for hop in HOPS]
    table.append(("gap", *_spread_cells(gaps(stream))))
    for i, line in enumerate(_aligned(table, left={0})):
        text = (
            Text("    ")
            if i in {0, len(table) - 1}
            else Text(f" {MARKS[HOPS[i - 1]]} ", STYLES[HOPS[i - 1]]) + Text(" ")
        )
        text.append(line, FAINT if i == 0 else "")
        clock = _CLOCKS[HOPS[i - 1]](stream) if 0 < i <= len(HOPS) and HOPS[i - 1] in _CLOCKS else SAME_CLOCK
        if clock.is_skewed:
            text.append(f"  {error_words(clock)}")
        yield text


def tree_lines(trace: Trace) -> Iterator[Text]:
    """Yield the spans, the segments of a stream in one line."""
    shift = core_shift(trace)
    start = tree_start(trace, shift)
    for node in tree(trace.spans):
        yield from _node_lines(node, start, shift, "", "")


def tree_start(trace: Trace, shift: Mapping[str, int]) -> int:
    """Return when the first span began, by the edge's clock. Segments are left out: two clocks timed them."""
    spans = [span for span in trace.spans if not span.is_segment] or trace.spans
    return min((span.start_ns + shift.get(span.span_id, 0) for span in spans), default=0)


def list_lines(heads: Iterable[Head]) -> Iterator[Text]:
    """Yield a line for each stream, below a line of titles."""
    table: list[Sequence[str]] = [
        ("time", "trace", "run", "route", "outcome", "tokens", "ttft", "max gap", "at", "stalls")
    ]
    table += [_list_cells(head) for head in heads]
    for i, line in enumerate(_aligned(table, left={0, 1, 2, 3, 4, 8})):
        yield Text(line.rstrip(), FAINT if i == 0 else "")


def _identity(trace: Trace) -> Iterator[Text]:
    yield Text("trace  ").append(trace.trace_id, "bold")
    for run_id in trace.run_ids:
        yield Text(f"run    {run_id}")
    if words := listing((trace.agent and f"agent {trace.agent}", trace.model and f"model {trace.model}")):
        yield Text(f"       {words}")


def _stream_head(stream: Stream) -> Iterator[Text]:
    root = stream.root
    name = root.name if root else "a stream whose own span is not here: it is open, or its process was killed"
    yield Text(name, "bold").append(f"  {clock_time(stream.start_ns)}", "not bold")
    words = (
        Text(f"outcome {outcome_of(root) or ABSENT}, ") if root else Text(),
        Text(listing(_counts(stream))),
    )
    yield Text("  ") + words[0] + words[1]
    if words_of_gaps := gap_words(stream):
        yield Text(f"  {words_of_gaps}")
    yield from (Text(f"  {words}") for words in clock_words(stream))
    if kept := kept_words(stream):
        yield Text(f"  {kept}")


def clock_words(stream: Stream) -> list[str]:
    """Return how other clocks differ from the edge's, and what was done about it; nothing for one clock."""
    found = []
    if (core := stream.clock).is_unknown:
        found.append(
            "clocks: how far the core's is off is not known; times across the link are as the stamps say"
        )
    elif core.is_skewed:
        found.append(f"clocks: {_ahead_words(core, 'core')}; {_CORRECTED}")
    if (page := stream.browser_clock).is_unknown:
        found.append(
            "clocks: how far the page's is off is not known; its hop is left out, its stamps are not"
        )
    elif page.is_skewed:
        found.append(f"clocks: {_ahead_words(page, 'page')}; {_CORRECTED}")
    return found


def _ahead_words(clock: Clock, whose: str) -> str:
    offset = duration(abs(clock.offset_us) * NS_PER_US)
    which = "ahead of" if clock.offset_us >= 0 else "behind"
    return f"the edge's is {offset} {which} the {whose}'s, {error_words(clock)} ({clock.method})"


def kept_words(stream: Stream) -> str:
    """Return why a stream was kept that the sampler had not chosen; empty where it had."""
    kept = stream.root.text(names.SAMPLED) if stream.root else ""
    return f"kept for its {kept}, though the sampler had not chosen it" if kept else ""


def _counts(stream: Stream) -> Iterator[str]:
    root = stream.root
    tokens = root.whole(names.STREAM_TOKENS) if root else None
    replayed = sum(row.is_replayed for row in stream.rows)
    yield f"{tokens:,} tokens" if tokens is not None else ""
    yield f"{len(stream.rows):,} rows"
    yield f"{replayed:,} of them replayed" if replayed else ""
    if root and (dropped := root.whole(names.STREAM_DROPPED)) is not None:
        yield f"{dropped:,} dropped"
    if root and (ttft := root.number(names.STREAM_TTFT_MS)) is not None:
        yield f"first token after {duration(ttft * NS_PER_MS)}"
    stalls = root.whole(names.STREAM_STALLS) if root else None
    if stalls is None:
        stalls = len(stream.stalls)
    here = f", {len(stream.stalls):,} of them here" if stalls > len(stream.stalls) else ""
    yield f"{stalls:,} stall{'' if stalls == 1 else 's'}{here}"


def gap_words(stream: Stream) -> str:
    """Return the gaps as the root has them, which tells text from other events; else those of the rows."""
    root = stream.root
    if root and (longest := root.number(names.STREAM_GAP_MAX_MS)) is not None:
        p50, p99 = (root.number(name) or 0.0 for name in (names.STREAM_GAP_P50_MS, names.STREAM_GAP_P99_MS))
        at, hop = root.whole(names.STREAM_GAP_MAX_SEQUENCE), root.text(names.STREAM_GAP_MAX_HOP)
        where = listing((f"token {at:,}" if at is not None else "", hop))
        middle = f"gaps p50 {duration(p50 * NS_PER_MS)}, p99 {duration(p99 * NS_PER_MS)}"
        return f"{middle}, max {duration(longest * NS_PER_MS)}" + (f" ({where})" if where else "")
    if (found := gaps(stream)) is None:
        return ""
    return (
        f"gaps p50 {duration(found.p50_ns)}, p99 {duration(found.p99_ns)}, "
        f"max {duration(found.max_ns)} (token {found.max_sequence:,})"
    )


def _spread_cells(found: Spread | None) -> tuple[str, ...]:
    if found is None:
        return (ABSENT,) * 5
    times = (duration(time) for time in (found.p50_ns, found.p99_ns, found.max_ns))
    return (f"{found.count:,}", *times, f"{found.max_sequence:,}")


def _node_lines(node: Node, start: int, shift: dict[str, int], stem: str, branch: str) -> Iterator[Text]:
    span = node.span
    style = STALL_STYLE if span.is_stall or span.status == "error" else ""
    line = Text(stem + branch, FAINT).append(span.name, style)
    line.append(f"  {duration(span.end_ns - span.start_ns)}", "bold")
    line.append(f"  at {since(span.start_ns + shift.get(span.span_id, 0) - start)}", FAINT)
    if words := listing((span.service, _stall_place(span), "error" if span.status == "error" else "")):
        line.append(f"  {words}", FAINT)
    if not branch and span.parent_id:
        line.append("  (its parent is not here)", FAINT)
    yield line
    below = stem + ("   " if branch == "└─ " else "│  " if branch else "")
    children = list(_children(node))
    for i, child in enumerate(children):
        sign = "└─ " if i + 1 == len(children) else "├─ "
        if isinstance(child, Node):
            yield from _node_lines(child, start, shift, below, sign)
        else:
            yield Text(f"{below}{sign}{child}", FAINT)


def _children(node: Node) -> Iterator[Node | str]:
    """Yield what is below a span: its segments in one line, and a line for what is too much of one name."""
    segments = [child.span for child in node.children if child.span.is_segment]
    seen: Counter[str] = Counter()
    for child in node.children:
        seen[child.span.name] += not child.span.is_segment
        if not child.span.is_segment and seen[child.span.name] <= SAME_NAME:
            yield child
    yield from (f"… {count - SAME_NAME:,} more {name}" for name, count in seen.items() if count > SAME_NAME)
    if segments:
        yield f"tokens, {len(segments):,} span{'' if len(segments) == 1 else 's'}"


def _stall_place(span: Span) -> str:
    sequence = span.whole(names.STALL_SEQUENCE)
    return f"token {sequence:,}" if span.is_stall and sequence is not None else ""


def _list_cells(head: Head) -> tuple[str, ...]:
    def ms(value: float | None) -> str:
        return ABSENT if value is None else duration(value * NS_PER_MS)

    at = listing(
        (f"token {head.gap_max_sequence:,}" if head.gap_max_sequence is not None else "", head.gap_max_hop)
    )
    return (
        clock_time(head.start_ns),
        head.trace_id[:SHORT_ID],
        head.run_id[:SHORT_ID] or ABSENT,
        head.route or ABSENT,
        head.outcome or ABSENT,
        ABSENT if head.tokens is None else f"{head.tokens:,}",
        ms(head.ttft_ms),
        ms(head.gap_max_ms),
        at or ABSENT,
        ABSENT if head.stalls is None else f"{head.stalls:,}",
    )


def _aligned(table: Sequence[Sequence[str]], left: set[int]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells)
