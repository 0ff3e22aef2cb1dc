"""A trace put together: its streams with their rows and stalls, and the run's other streams. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tokenwire.latency.stages import HOPS, Hop
from tokenwire.telemetry import attributes as names
from tokenwire.traces.rows import (
    NS_PER_US,
    SAME_CLOCK,
    Clock,
    Row,
    Segment,
    SegmentError,
    clock_of,
    rows_of,
    segment_of,
)
from tokenwire.traces.source import Found, Head, is_stream_root
from tokenwire.traces.spans import CORE_STALLS, Span, ancestors, unique

NS_PER_MS: Final = 1_000_000
TTFT_TOLERANCE_NS: Final = 2 * NS_PER_MS
"""How far `ttft_ms` may be from the write stamp of the first token: each is rounded by itself."""

TOOL_PREFIX: Final = "execute_tool"


@dataclass(frozen=True, slots=True)
class Stall:
    """One stall, as its span tells it."""

    sequence: int
    hop: str
    ms: float
    start_ns: int
    behind: int = 0
    is_open: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """How durations are spread, in nanoseconds."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int
    max_sequence: int


@dataclass(slots=True)
class Stream:
    """One stream of a trace. `root` is None where its span was never written."""

    span_id: str
    root: Span | None
    start_ns: int
    rows: list[Row]
    stalls: list[Stall] = field(default_factory=list)
    clock: Clock = SAME_CLOCK
    """The core's."""
    browser_clock: Clock = SAME_CLOCK
    """The page's."""
    first_token: int | None = None
    """The sequence of the first token, as far as it is known. Rows up to it are not between two tokens."""

    def is_between(self, row: Row) -> bool:
        """Return whether a row's gap is one between two tokens that were written live."""
        return (
            row.gap_ns is not None
            and not row.is_replayed
            and not row.note
            and row.sequence > (self.first_token or 0)
        )


@dataclass(slots=True)
class Trace:
    """A trace that can be shown."""

    trace_id: str
    spans: list[Span]
    streams: list[Stream]
    others: list[Head]
    run_ids: list[str]
    agent: str = ""
    model: str = ""
    stray_stalls: list[Stall] = field(default_factory=list)
    """Stalls of tokens that no stream here has a row of."""
    problems: list[str] = field(default_factory=list)
    """What could not be understood of it."""


def assemble(found: Found) -> Trace:
    """Return the trace that spans make."""
    everything = unique(found.spans)
    spans = [span for span in everything if span.trace_id == found.trace_id]
    trace = Trace(found.trace_id, spans, [], found.others, _texts(spans, names.RUN_ID))
    trace.agent = ", ".join(_texts(spans, names.GEN_AI_AGENT_NAME))
    trace.model = ", ".join(
        _texts(spans, names.GEN_AI_RESPONSE_MODEL) or _texts(spans, names.GEN_AI_REQUEST_MODEL)
    )
    by_id = {span.span_id: span for span in spans}
    segments = _segments(spans, trace.problems)
    roots = {span.span_id for span in spans if is_stream_root(span)}
    for span_id in dict.fromkeys([*(span.span_id for span in spans if span.span_id in roots), *segments]):
        trace.streams.append(_stream(span_id, by_id.get(span_id), segments.get(span_id, [])))
    trace.streams.sort(key=lambda stream: stream.start_ns)
    tools = [span for span in spans if span.name.startswith(TOOL_PREFIX)]
    for stream in trace.streams:
        _note_tools(stream.rows, tools)
    _place_stalls(trace, [span for span in everything if span.is_stall], by_id)
    return trace


def spread(values: Iterable[tuple[int, int]]) -> Spread | None:
    """Return how durations are spread; None for none.

    Args:
        values: Pairs of a duration in nanoseconds and the sequence it belongs to.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    longest, sequence = ordered[-1]
    return Spread(len(ordered), _quantile(ordered, 50), _quantile(ordered, 99), longest, sequence)


def by_hop(stream: Stream) -> dict[Hop, Spread]:
    """Return how the time in each hop is spread over the live rows; for `model`, between two tokens."""
    found: dict[Hop, Spread] = {}
    for hop in HOPS:
        values = spread(
            (row.hops[hop], row.sequence)
            for row in stream.rows
            if hop in row.hops and not row.is_replayed and (hop != "model" or stream.is_between(row))
        )
        if values is not None:
            found[hop] = values
    return found


def gaps(stream: Stream) -> Spread | None:
    """Return how the gaps between a stream's live tokens are spread."""
    return spread((row.gap_ns or 0, row.sequence) for row in stream.rows if stream.is_between(row))


def core_shift(trace: Trace) -> dict[str, int]:
    """Return by how many nanoseconds the spans that the core timed are moved onto the edge's clock, by span.

    They are the second rpc span on the way down from the root, and what is below it; but not the stalls,
    which the edge timed. Empty where the clocks agree.
    """
    offset = next((stream.clock.offset_us for stream in trace.streams if stream.clock.offset_us), 0)
    if not offset:
        return {}
    by_id = {span.span_id: span for span in trace.spans}

    def rpcs(span: Span) -> int:
        return sum(names.RPC_METHOD in each.attributes for each in (span, *ancestors(span, by_id)))

    own = (span.span_id for span in trace.spans if rpcs(span) > 1 and not span.is_stall)
    return dict.fromkeys(own, round(offset * NS_PER_US))


def _quantile(ordered: Sequence[tuple[int, int]], percent: int) -> int:
    """Return the nearest-rank quantile."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, rank - 1)][0]


def _texts(spans: Iterable[Span], name: str) -> list[str]:
    return list(dict.fromkeys(text for span in spans if (text := span.text(name))))


def _segments(spans: Iterable[Span], problems: list[str]) -> dict[str, list[Segment]]:
    """Return the segments of each stream, by the id of its span."""
    found: dict[str, list[Segment]] = {}
    for span in spans:
        if not span.is_segment:
            continue
        try:
            found.setdefault(span.parent_id, []).append(segment_of(span))
        except SegmentError as error:
            problems.append(f"span {span.span_id} (tokens): {error}; its tokens are left out")
    return found


def _stream(span_id: str, root: Span | None, segments: Sequence[Segment]) -> Stream:
    rows = rows_of(segments, root.start_ns if root else None)
    clocks = [row.clock for row in rows if not row.is_replayed]
    pages = [row.browser_clock for row in rows if "browser" in row.stamps]
    stream = Stream(
        span_id=span_id,
        root=root if root is not None else None,
        start_ns=root.start_ns if root else min((row.begin_ns for row in rows), default=0),
        rows=rows,
        clock=clock_of(root) if root and clock_of(root) is not SAME_CLOCK else (clocks or [SAME_CLOCK])[-1],
        browser_clock=(pages or [SAME_CLOCK])[-1],
    )
    stream.first_token = _first_token(stream)
    return stream


def _first_token(stream: Stream) -> int | None:
    """Return the first token's sequence: that of the row that was written `ttft_ms` after the start."""
    live = [row for row in stream.rows if not row.is_replayed]
    if not live:
        return None
    ttft = stream.root.number(names.STREAM_TTFT_MS) if stream.root else None
    if ttft is not None:
        written = stream.start_ns + round(ttft * NS_PER_MS)
        nearest = min(live, key=lambda row: abs(row.end_ns - written))
        if abs(nearest.end_ns - written) <= TTFT_TOLERANCE_NS:
            return nearest.sequence
    # A run's first event is RunStarted: the model has not been asked then.
    return live[1 if live[0].sequence == 1 and len(live) > 1 else 0].sequence


def _note_tools(rows: Sequence[Row], tools: Sequence[Span]) -> None:
    """Say of each row that came late since a tool was at work, which one."""
    for tool in tools:
        name = tool.text(names.GEN_AI_TOOL_NAME) or tool.name.removeprefix(TOOL_PREFIX).strip()
        for row in rows:
            if row.gap_ns is None or row.gap_ns < NS_PER_MS:
                continue
            end = row.edge_time("model") or row.end_ns
            overlap = min(end, tool.end_ns) - max(end - row.gap_ns, tool.start_ns)
            if overlap * 2 >= row.gap_ns:
                row.note = f"after tool {name}"


def _place_stalls(trace: Trace, spans: Sequence[Span], by_id: Mapping[str, Span]) -> None:
    for span in spans:
        stall = Stall(
            sequence=span.whole(names.STALL_SEQUENCE) or 0,
            hop=span.text(names.STALL_HOP) or span.name.partition(" ")[2],
            ms=span.number(names.STALL_MS) or (span.end_ns - span.start_ns) / NS_PER_MS,
            start_ns=span.start_ns,
            behind=span.whole(names.STALL_BEHIND) or 0,
            is_open=span.attributes.get(names.STALL_OPEN) is True,
            cause=span.text(names.STALL_CAUSE),
        )
        above = {each.span_id for each in ancestors(span, by_id)} if span.name not in CORE_STALLS else set()
        streams = [each for each in trace.streams if each.span_id in above] or [
            each for each in trace.streams if _has(each, stall)
        ]
        for stream in streams:
            # Each stream of a run tells of a stall in the core.
            if (stall.hop, stall.sequence) not in {(each.hop, each.sequence) for each in stream.stalls}:
                stream.stalls.append(stall)
        if not streams and span.trace_id == trace.trace_id:
            trace.stray_stalls.append(stall)
    for stream in trace.streams:
        stream.stalls.sort(key=lambda stall: (stall.sequence, stall.start_ns))


def _has(stream: Stream, stall: Stall) -> bool:
    live = [row.sequence for row in stream.rows if not row.is_replayed]
    return bool(live) and live[0] <= stall.sequence <= live[-1] + stall.is_open
