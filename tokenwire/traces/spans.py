"""A span as it was read, and the tree that a trace's spans make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tokenwire.latency.stages import CORE_STAGES, HOPS

AttributeValue: TypeAlias = (
    "str | int | float | bool | list[AttributeValue] | dict[str, AttributeValue] | None"
)

SEGMENT_NAME: Final = "tokens"
"""The name of the spans that hold the tokens' stamps."""

STALL_PREFIX: Final = "stall "
"""What the names of stall spans begin with."""

CORE_STALLS: Final = tuple(STALL_PREFIX + hop for hop in HOPS[:CORE_STAGES])
"""The stall spans that are children of the run's own trace, whichever stream they were seen in."""


@dataclass(frozen=True, slots=True)
class Span:
    """One span, with times in Unix nanoseconds.

    `parent_id` is empty for a root; `status` is `unset`, `ok` or `error`; `service` is the resource's
    `service.name`; `links` are trace ids.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    status: str = "unset"
    service: str = ""
    links: tuple[str, ...] = ()

    @property
    def is_segment(self) -> bool:
        """Whether it holds tokens' stamps."""
        return self.name == SEGMENT_NAME

    @property
    def is_stall(self) -> bool:
        """Whether it tells of a stall."""
        return self.name.startswith(STALL_PREFIX)

    def text(self, name: str) -> str:
        """Return an attribute as text; empty where there is none."""
        value = self.attributes.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> float | None:
        """Return an attribute as a number; None where there is none, or something else."""
        value = self.attributes.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def whole(self, name: str) -> int | None:
        """Return an attribute as a whole number; None where there is none, or something else."""
        value = self.number(name)
        return None if value is None else int(value)


@dataclass(slots=True)
class Node:
    """A span and what is below it, in the order of their starts."""

    span: Span
    children: list[Node] = field(default_factory=list)


def unique(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in the order of their starts, those that were exported twice once."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    return sorted(by_id.values(), key=lambda span: (span.start_ns, -span.end_ns))


def tree(spans: Iterable[Span]) -> list[Node]:
    """Return the spans that have no parent among the others, with all others below them."""
    nodes = {span.span_id: Node(span) for span in spans}
    tops: list[Node] = []
    for node in nodes.values():
        parent = nodes.get(node.span.parent_id)
        (tops if parent is None or parent is node else parent.children).append(node)
    return tops


def ancestors(span: Span, by_id: Mapping[str, Span]) -> list[Span]:
    """Return a span's parent, its parent and so on, as far as they are known."""
    found: list[Span] = []
    seen = {span.span_id}
    while (parent := by_id.get(span.parent_id)) is not None and parent.span_id not in seen:
        found.append(parent)
        seen.add(parent.span_id)
        span = parent
    return found
