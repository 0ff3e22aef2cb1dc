"""What a place that has spans is asked, and how an id becomes one trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tokenwire.telemetry import attributes as names
from tokenwire.traces.errors import AmbiguousError, NotFoundError
from tokenwire.traces.spans import Span

AGENT_PREFIX: Final = "invoke_agent"
MOST_CANDIDATES: Final = 8
"""How many candidates an ambiguous id's message names."""

SHORT_ID: Final = 12
"""How many digits of a trace id a list shows."""

_HEX: Final = re.compile("[0-9a-f]{1,32}")


@dataclass(slots=True)
class Candidate:
    """A trace that an id may mean."""

    trace_id: str
    run_ids: set[str] = field(default_factory=set)
    start_ns: int = 0
    has_agent: bool = False
    """Whether the agent's span is in it: the run's own trace."""
    links: set[str] = field(default_factory=set)
    """The traces that its spans link to."""

    def add(self, span: Span) -> None:
        """Take a span of the trace into account."""
        self.start_ns = min(self.start_ns or span.start_ns, span.start_ns)
        self.has_agent = self.has_agent or span.name.startswith(AGENT_PREFIX)
        self.links.update(span.links)
        if run_id := span.text(names.RUN_ID):
            self.run_ids.add(run_id)


@dataclass(frozen=True, slots=True)
class Head:
    """One stream in a list: what its root says, or its segments where there is no root."""

    trace_id: str
    span_id: str
    start_ns: int
    run_id: str
    route: str
    outcome: str
    tokens: int | None
    ttft_ms: float | None
    gap_max_ms: float | None
    gap_max_sequence: int | None
    gap_max_hop: str
    stalls: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """A trace's spans, and what of other traces belongs to it."""

    trace_id: str
    spans: list[Span]
    others: list[Head]
    """The other streams of its runs."""


class Source(Protocol):
    """Files, or a server."""

    def candidates(self, wanted: str) -> Mapping[str, Candidate]:
        """Return the traces whose id, or one of whose run ids, begins with a text."""
        ...

    def trace(self, chosen: Candidate) -> Found:
        """Return a trace, and the other streams of its runs."""
        ...

    def newest(self, limit: int) -> list[Head]:
        """Return the newest streams, those first."""
        ...


def is_stream_root(span: Span) -> bool:
    """Return whether a span is the root of a stream: the edge's or, for a direct caller, the core's."""
    return names.STREAM_OUTCOME in span.attributes or names.STREAM_TOKENS in span.attributes


def outcome_of(root: Span) -> str:
    """Return how a stream ended: of a direct caller's, whose root is an rpc span, the status code."""
    return root.text(names.STREAM_OUTCOME) or root.text(names.RPC_RESPONSE_STATUS_CODE)


def head_of(span: Span) -> Head:
    """Return what the root of a stream says of it."""
    return Head(
        trace_id=span.trace_id,
        span_id=span.span_id,
        start_ns=span.start_ns,
        run_id=span.text(names.RUN_ID),
        route=span.name,
        outcome=outcome_of(span),
        tokens=span.whole(names.STREAM_TOKENS),
        ttft_ms=span.number(names.STREAM_TTFT_MS),
        gap_max_ms=span.number(names.STREAM_GAP_MAX_MS),
        gap_max_sequence=span.whole(names.STREAM_GAP_MAX_SEQUENCE),
        gap_max_hop=span.text(names.STREAM_GAP_MAX_HOP),
        stalls=span.whole(names.STREAM_STALLS),
    )


def may_be_trace_id(text: str) -> bool:
    """Return whether a text may be the beginning of a trace id."""
    return _HEX.fullmatch(text.lower()) is not None


def choose(wanted: str, candidates: Mapping[str, Candidate]) -> Candidate:
    """Return the one trace that an id means. Of a run's traces it is the run's own.

    Args:
        wanted: A trace id, a run id, or the beginning of one.
        candidates: The traces that it may mean, by id.

    Raises:
        NotFoundError: There is none.
        AmbiguousError: There are several.
    """
    if not candidates:
        raise NotFoundError(f"no trace or run {wanted} here")
    by_trace = [each for each in candidates.values() if each.trace_id.startswith(wanted.lower())]
    runs = {run for each in candidates.values() for run in each.run_ids if run.startswith(wanted)}
    if wanted in runs:
        runs, by_trace = {wanted}, []
    if len(by_trace) + len(runs) > 1:
        options = [each.trace_id for each in by_trace] + [f"run {run}" for run in sorted(runs)]
        more = f" and {len(options) - MOST_CANDIDATES} more" if len(options) > MOST_CANDIDATES else ""
        raise AmbiguousError(
            f"{wanted} may mean {', '.join(options[:MOST_CANDIDATES])}{more}: give more of it"
        )
    if by_trace:
        return by_trace[0]
    return _own_trace(each for each in candidates.values() if each.run_ids & runs)


def _own_trace(candidates: Iterable[Candidate]) -> Candidate:
    return min(candidates, key=lambda each: (not each.has_agent, each.start_ns))
