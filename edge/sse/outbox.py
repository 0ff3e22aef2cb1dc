"""What waits for one client: in order, with neighbouring deltas merged, within a budget of bytes. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

from edge.sse.dialects import Delta, DeltaType, Dialect
from tokenwire import events

TENTHS_PER_MS: Final = 10

Told: TypeAlias = tuple[int, int, events.StreamEvent]
"""Any event: epoch, sequence, event. Sequence 0: it is not in the log."""

Item: TypeAlias = Delta | Told | events.ControlEvent
"""What waits. Bare tuples, since one is made for every token; told apart by their lengths."""


class Outbox:
    """What waits for one client.

    Args:
        budget_bytes: How much may wait (in encoded bytes) before it is `full`.
        merge: Whether neighbouring deltas that wait together become one.
    """

    __slots__ = ("budget_bytes", "items", "merge", "size_bytes")

    def __init__(self, budget_bytes: int, *, merge: bool = True) -> None:
        self.budget_bytes = budget_bytes
        """How much may wait."""
        self.merge = merge
        """Whether neighbouring deltas become one."""
        self.items: list[Item] = []
        """What waits, oldest first. Always the same list: who fills it for every token may hold it."""
        self.size_bytes = 0
        """How much waits, by what came for it."""

    @property
    def full(self) -> bool:
        """Whether more waits than the budget allows."""
        return self.size_bytes >= self.budget_bytes

    def forget_if_empty(self) -> None:
        """Count nothing where nothing waits: what makes no frame is never taken, and may fill no budget."""
        if not self.items:
            self.size_bytes = 0

    def take(self, out: bytearray, dialect: Dialect) -> None:
        """Append the frames of all that waits; nothing waits any more.

        Args:
            out: Appended to.
            dialect: Writes them.
        """
        items: list[Item] = [*self.items]
        self.items.clear()
        self.size_bytes = 0
        if self.merge and len(items) > 1:
            items = _merged(items)
        for item in items:
            if not isinstance(item, tuple):
                dialect.write_control(out, item)
            elif len(item) == 3:  # noqa: PLR2004 # a Told
                dialect.write_event(out, *item)
            else:
                out += dialect.delta_frame(item)


def event_of(delta: Delta, first: int | None = None) -> events.DeltaEvent:
    """Return a delta as the event that it is.

    Args:
        delta: The delta.
        first: Of a merged one, the sequence of its first event.
    """
    _, _, tenths, kind, content, tokens = delta
    return kind(timestamp=tenths / TENTHS_PER_MS, content=content, tokens=tokens, first=first)


def _merged(items: list[Item]) -> list[Item]:
    """Return the items with neighbouring deltas of one kind joined."""
    merged: list[Item] = []
    start = 0
    while start < len(items):
        end = start + 1
        kind = _delta_type(items[start])
        while kind is not None and end < len(items) and _delta_type(items[end]) is kind:
            end += 1
        merged.append(items[start] if end == start + 1 else _joined(items[start:end]))
        start = end
    return merged


def _delta_type(item: Item) -> DeltaType | None:
    """Return the kind of a delta; None for what can't be merged."""
    if not isinstance(item, tuple):
        return None
    return None if len(item) == 3 else item[3]  # noqa: PLR2004 # a Told


def _joined(items: list[Item]) -> Told:
    """Return neighbouring deltas of one kind as one: the last one's place, the first one's time."""
    deltas = [item for item in items if isinstance(item, tuple) and len(item) == 6]  # noqa: PLR2004 # a Delta
    epoch, sequence, *_ = deltas[-1]
    content = "".join([delta[4] for delta in deltas])
    tokens = sum([delta[5] for delta in deltas])
    joined = (epoch, sequence, deltas[0][2], deltas[0][3], content, tokens)
    return epoch, sequence, event_of(joined, first=deltas[0][1])
