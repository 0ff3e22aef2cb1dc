"""A trace as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from tokenwire.latency.stages import HOPS
from tokenwire.telemetry import attributes as names
from tokenwire.traces.rows import Row, micros
from tokenwire.traces.source import Head, head_of
from tokenwire.traces.spans import Span
from tokenwire.traces.streams import Spread, Stall, Stream, Trace, by_hop, gaps


def trace_object(trace: Trace) -> dict[str, Any]:
    """Return a trace. Times are Unix nanoseconds, or microseconds where the name says so."""
    return {
        "trace_id": trace.trace_id,
        "run_ids": trace.run_ids,
        "agent": trace.agent or None,
        "model": trace.model or None,
        "streams": [stream_object(stream) for stream in trace.streams],
        "spans": [_span(span) for span in trace.spans],
        "stray_stalls": [_stall(stall) for stall in trace.stray_stalls],
        "others": list_objects(trace.others),
        "problems": trace.problems,
    }


def stream_object(stream: Stream) -> dict[str, Any]:
    """Return one stream: what its root says, its clocks, rows, stalls, and the spread of its hops and gaps.

    The stamps of a row (`us`) count from `start_unix_ns` and are as they were taken; its hops (`hop_us`)
    are corrected by the clocks' offset.
    """
    root = stream.root
    return {
        "span_id": stream.span_id,
        "start_unix_ns": stream.start_ns,
        "root": _head(head_of(root)) if root else None,
        "dropped": root.whole(names.STREAM_DROPPED) if root else None,
        "gap_p50_ms": root.number(names.STREAM_GAP_P50_MS) if root else None,
        "gap_p99_ms": root.number(names.STREAM_GAP_P99_MS) if root else None,
        "sampled": (root.text(names.SAMPLED) or None) if root else None,
        "clock": asdict(stream.clock),
        "browser_clock": asdict(stream.browser_clock),
        "first_token": stream.first_token,
        "stalls": [_stall(stall) for stall in stream.stalls],
        "summary": summary_object(stream),
        "rows": [_row(row, stream.start_ns) for row in stream.rows],
    }


def summary_object(stream: Stream) -> dict[str, Any]:
    """Return the spread of each hop, null for one that was not stamped, and of the gaps."""
    spreads = by_hop(stream)
    hops: Mapping[str, Spread | None] = {**{hop: spreads.get(hop) for hop in HOPS}, "gap": gaps(stream)}
    return {name: _spread(found) for name, found in hops.items()}


def list_objects(heads: Iterable[Head]) -> list[dict[str, Any]]:
    """Return streams as they stand in a list."""
    return [_head(head) for head in heads]


def _head(head: Head) -> dict[str, Any]:
    content = asdict(head)
    content["start_unix_ns"] = content.pop("start_ns")
    return content


def _stall(stall: Stall) -> dict[str, Any]:
    content = asdict(stall)
    content["start_unix_ns"] = content.pop("start_ns")
    content["open"] = content.pop("is_open")
    content["cause"] = content["cause"] or None
    return content


def _spread(found: Spread | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "count": found.count,
        "p50_us": micros(found.p50_ns),
        "p99_us": micros(found.p99_ns),
        "max_us": micros(found.max_ns),
        "max_sequence": found.max_sequence,
    }


def _row(row: Row, start_ns: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "sequence": row.sequence,
        "us": {stage: micros(stamp - start_ns) for stage, stamp in row.stamps.items()},
        "gap_us": None if row.gap_ns is None else micros(row.gap_ns),
        "hop_us": {hop: micros(time) for hop, time in row.hops.items()},
        "replayed": row.is_replayed,
    }
    if row.same_write:
        content["same_write"] = row.same_write
    if row.note:
        content["note"] = row.note
    return content


def _span(span: Span) -> dict[str, Any]:
    """Return a span; the stamps of a segment stand in the rows."""
    attributes = span.attributes
    if span.is_segment:
        attributes = {name: value for name, value in attributes.items() if not name.endswith("_us")}
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id or None,
        "name": span.name,
        "kind": span.kind,
        "service": span.service or None,
        "start_unix_ns": span.start_ns,
        "end_unix_ns": span.end_ns,
        "status": span.status,
        "links": list(span.links),
        "attributes": dict(attributes),
    }
