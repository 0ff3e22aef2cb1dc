"""A trace as one HTML page: no other resource, no network, its own Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from tokenwire.latency.stages import HOPS, Hop
from tokenwire.telemetry import attributes as names
from tokenwire.traces.overview import clock_words, gap_words, kept_words, tree_start
from tokenwire.traces.rows import Row, micros
from tokenwire.traces.source import Head, outcome_of
from tokenwire.traces.spans import Node, tree
from tokenwire.traces.streams import Spread, Stall, Stream, Trace, by_hop, core_shift, gaps
from tokenwire.traces.words import NS_PER_MS, clock_time, duration, error_words

MOST_SPANS: Final = 1_000
"""How many spans the page's tree has; segments are not among them."""

CHAINED: Final[tuple[Hop, ...]] = HOPS[1:]
"""The hops that the page gets. The first one follows from these and from the times at which rows ended."""


def write_page(trace: Trace, path: Path) -> int:
    """Write a trace's page; return its size in bytes.

    Raises:
        OSError: The file can't be written.
    """
    content = page(trace).encode()
    path.write_bytes(content)
    return len(content)


def page(trace: Trace) -> str:
    """Return a trace's page."""
    folder = files("tokenwire.traces") / "page"
    template, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", "script.js")
    )
    # In a script element `<` is the only character that could end it or open a comment.
    data = json.dumps(page_data(trace), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": html.escape(f"{trace.trace_id[:12]} · tokenwire trace"),
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "data": data,
    }
    # Split, not replaced in turn: a name in the data may look like a placeholder.
    pieces = template.split("%%")
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def page_data(trace: Trace) -> dict[str, Any]:
    """Return what the page's script reads."""
    return {
        "traceId": trace.trace_id,
        "runIds": trace.run_ids,
        "agent": trace.agent,
        "model": trace.model,
        "hops": list(HOPS),
        "streams": [_stream(stream) for stream in trace.streams],
        "spans": _spans(trace),
        "strays": [_stall(stall) for stall in trace.stray_stalls],
        "others": [_other(head) for head in trace.others],
    }


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _stream(stream: Stream) -> dict[str, Any]:
    root = stream.root
    spreads = by_hop(stream)
    ttft = root.number(names.STREAM_TTFT_MS) if root else None
    tokens = root.whole(names.STREAM_TOKENS) if root else None
    return {
        "name": root.name if root else "stream without a root",
        "outcome": outcome_of(root) if root else "unfinished",
        "time": clock_time(stream.start_ns),
        "tokens": tokens,
        "dropped": root.whole(names.STREAM_DROPPED) if root else None,
        "ttft": None if ttft is None else duration(ttft * NS_PER_MS),
        "gapWords": gap_words(stream),
        "stallCount": root.whole(names.STREAM_STALLS) if root else None,
        "clock": ". ".join(clock_words(stream)),
        "errors": {"link": error_words(stream.clock), "browser": error_words(stream.browser_clock)},
        "kept": kept_words(stream),
        "stalls": [_stall(stall) for stall in stream.stalls],
        "summary": [
            *([hop, *_spread(spreads.get(hop))] for hop in HOPS),
            ["gap", *_spread(gaps(stream))],
        ],
        "hasRoot": root is not None,
        **_columns(stream),
    }


def _columns(stream: Stream) -> dict[str, Any]:
    """Return the rows as columns, in microseconds: a stream of 5,000 tokens takes about 100 kB so."""
    rows = stream.rows
    ends = [micros(row.end_ns - stream.start_ns) for row in rows]
    return {
        "sequences": _runs([row.sequence for row in rows]),
        "replayed": _runs([i for i, row in enumerate(rows) if row.is_replayed]),
        "ends": ",".join(str(b - a) for a, b in zip([0, *ends], ends, strict=False)),
        "hopUs": {hop: text for hop in CHAINED if (text := _hop_column(rows, hop)).strip(",")},
        "notes": {i: row.note for i, row in enumerate(rows) if row.note},
        "writes": _writes(rows),
    }


def _hop_column(rows: list[Row], hop: Hop) -> str:
    return ",".join("" if (time := row.hops.get(hop)) is None else str(micros(time)) for row in rows)


def _runs(numbers: list[int]) -> list[list[int]]:
    """Return ascending numbers as pairs of a first one and how many follow each other."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return runs


def _writes(rows: list[Row]) -> list[list[int]]:
    """Return which rows left in one write: the index of the first of them, and how many they are."""
    found: list[list[int]] = []
    i = 0
    while i < len(rows):
        size = max(1, rows[i].same_write)
        if size > 1:
            found.append([i, size])
        i += size
    return found


def _spread(found: Spread | None) -> list[Any]:
    if found is None:
        return [0, "", "", "", 0]
    times = [duration(time) for time in (found.p50_ns, found.p99_ns, found.max_ns)]
    return [found.count, *times, found.max_sequence]


def _stall(stall: Stall) -> dict[str, Any]:
    return {
        "sequence": stall.sequence,
        "hop": stall.hop,
        "time": duration(stall.ms * NS_PER_MS),
        "behind": stall.behind,
        "open": stall.is_open,
        "cause": stall.cause,
    }


def _spans(trace: Trace) -> list[list[Any]]:
    """Return the tree's lines.

    Each is name, depth, start and length in microseconds, the length in words, process, mark, and how many
    segments are below.
    """
    shift = core_shift(trace)
    start = tree_start(trace, shift)
    lines: list[list[Any]] = []

    def add(node: Node, depth: int) -> None:
        span = node.span
        begin = span.start_ns + shift.get(span.span_id, 0) - start
        segments = sum(child.span.is_segment for child in node.children)
        mark = "stall" if span.is_stall else "error" if span.status == "error" else ""
        name = f"{span.name} · token {span.text(names.STALL_SEQUENCE)}" if span.is_stall else span.name
        times = [
            micros(begin),
            micros(span.end_ns - span.start_ns),
            duration(span.end_ns - span.start_ns),
        ]
        lines.append([name, depth, *times, span.service, mark, segments])
        for child in node.children:
            if not child.span.is_segment and len(lines) < MOST_SPANS:
                add(child, depth + 1)

    for node in tree(trace.spans):
        if not node.span.is_segment and len(lines) < MOST_SPANS:
            add(node, 0)
    return lines


def _other(head: Head) -> list[str]:
    tokens = "" if head.tokens is None else f"{head.tokens:,} tokens"
    return [clock_time(head.start_ns), head.trace_id, head.route, head.outcome, tokens]
