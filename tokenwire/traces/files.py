"""Traces from files of OTLP/JSON lines. They are read twice: once to find the trace, once to take it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tokenwire.telemetry import attributes as names
from tokenwire.traces.read_otlp import Wanted, read_file
from tokenwire.traces.source import AGENT_PREFIX, Candidate, Found, Head, head_of, is_stream_root
from tokenwire.traces.spans import CORE_STALLS, SEGMENT_NAME, Span

UNFINISHED: Final = "unfinished"
"""The outcome of a stream whose root was never written: it is open, or its process was killed."""

_RUN_ID: Final = names.RUN_ID.encode()
_STREAM_MARKS: Final = (names.STREAM_OUTCOME.encode(), names.STREAM_TOKENS.encode())


class TraceFiles:
    """A source of traces.

    Args:
        paths: The files.
        note: Is told what was skipped.
    """

    def __init__(self, paths: Sequence[Path], note: Callable[[str], None]) -> None:
        self._paths = paths
        self._notes: dict[str, None] = {}
        self._note = note

    def candidates(self, wanted: str) -> Mapping[str, Candidate]:
        """Return the traces whose id, or one of whose run ids, begins with a text."""
        prefix, mark = wanted.lower(), wanted.encode()

        def may_fit(trace_id: str, _name: str, attributes: bytes) -> bool:
            return trace_id.startswith(prefix) or (mark in attributes and _RUN_ID in attributes)

        found: dict[str, Candidate] = {}
        by_run: dict[str, Candidate] = {}
        for span in self._read(may_fit):
            if span.trace_id.startswith(prefix):
                found.setdefault(span.trace_id, Candidate(span.trace_id)).add(span)
            elif span.text(names.RUN_ID).startswith(wanted):
                by_run.setdefault(span.trace_id, Candidate(span.trace_id)).add(span)
        return {**by_run, **found}

    def trace(self, chosen: Candidate) -> Found:
        """Return a trace, and the other streams of its runs.

        A follow's stalls in the core are under the run's own trace, which it links to.
        """
        spans: list[Span] = []
        others: list[Head] = []
        runs = [run.encode() for run in chosen.run_ids]

        def may_belong(trace_id: str, name: str, attributes: bytes) -> bool:
            if trace_id == chosen.trace_id or (trace_id in chosen.links and name in CORE_STALLS):
                return True
            return any(run in attributes for run in runs) and any(
                mark in attributes for mark in _STREAM_MARKS
            )

        for span in self._read(may_belong):
            if span.trace_id == chosen.trace_id or span.is_stall:
                spans.append(span)
            elif span.text(names.RUN_ID) in chosen.run_ids:
                others.append(head_of(span))
        return Found(chosen.trace_id, spans, sorted(set(others), key=lambda head: head.start_ns))

    def newest(self, limit: int) -> list[Head]:
        """Return the newest streams, those first. Streams without a root are told by their segments.

        The run of a stream whose root does not name it is the one whose agent is in the trace.
        """
        heads: list[tuple[int, str, Head]] = []
        rooted: set[tuple[str, str]] = set()
        runs: dict[str, str] = {}
        segments: dict[tuple[str, str], Head] = {}
        for span in self._read(_is_of_a_stream):
            if span.is_segment:
                key = span.trace_id, span.parent_id
                if key not in rooted:
                    segments[key] = _with_segment(segments.get(key), span)
            elif span.name.startswith(AGENT_PREFIX):
                runs[span.trace_id] = span.text(names.RUN_ID)
            elif is_stream_root(span) and (key := (span.trace_id, span.span_id)) not in rooted:
                rooted.add(key)
                segments.pop(key, None)
                _push(heads, head_of(span), limit)
        for key, head in segments.items():
            if key not in rooted:
                _push(heads, head, limit)
        ordered = sorted(heads, key=lambda entry: entry[:2], reverse=True)
        return [
            head if head.run_id else replace(head, run_id=runs.get(head.trace_id, "")) for *_, head in ordered
        ]

    def _read(self, wanted: Wanted) -> Iterator[Span]:
        for path in self._paths:
            yield from read_file(path, wanted, self._note_once)

    def _note_once(self, line: str) -> None:
        if line not in self._notes:
            self._notes[line] = None
            self._note(line)


def _is_of_a_stream(_trace_id: str, name: str, attributes: bytes) -> bool:
    return (
        name == SEGMENT_NAME
        or name.startswith(AGENT_PREFIX)
        or any(mark in attributes for mark in _STREAM_MARKS)
    )


def _push(heads: list[tuple[int, str, Head]], head: Head, limit: int) -> None:
    heapq.heappush(heads, (head.start_ns, head.trace_id + head.span_id, head))
    if len(heads) > limit:
        heapq.heappop(heads)


def _with_segment(head: Head | None, span: Span) -> Head:
    count = span.whole(names.TOKENS_COUNT) or 0
    if names.TOKENS_STAGE.format(stage="browser") in span.attributes:
        count = 0
    return Head(
        trace_id=span.trace_id,
        span_id=span.parent_id,
        start_ns=min(span.start_ns, head.start_ns) if head else span.start_ns,
        run_id=span.text(names.RUN_ID),
        route="",
        outcome=UNFINISHED,
        tokens=count + ((head.tokens or 0) if head else 0),
        ttft_ms=None,
        gap_max_ms=None,
        gap_max_sequence=None,
        gap_max_hop="",
        stalls=None,
    )
