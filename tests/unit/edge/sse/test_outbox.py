"""What waits for one client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sse.dialects import Delta, NativeDialect
from edge.sse.outbox import Item, Outbox, event_of
from tokenwire import events

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


def text(sequence: int, content: str = "x", tokens: int = 1) -> Delta:
    return 1, sequence, 15 + sequence, events.TextDelta, content, tokens


def thought(sequence: int, content: str = "x") -> Delta:
    return 1, sequence, 15 + sequence, events.ReasoningDelta, content, 1


class Written:
    """A dialect that notes what it is to write."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def write_event(self, out: bytearray, epoch: int, sequence: int, event: events.StreamEvent) -> None:
        del out
        self.seen.append((epoch, sequence, event))

    def delta_frame(self, delta: Delta) -> bytes:
        self.seen.append(delta)
        return b"delta"

    def write_control(self, out: bytearray, control: events.ControlEvent) -> None:
        del out
        self.seen.append(control)


def taken(*items: Item, merge: bool = True) -> list[Any]:
    """Return what is written of items that wait together."""
    outbox, dialect = Outbox(100, merge=merge), Written()
    outbox.items += items
    outbox.take(bytearray(), dialect)  # type: ignore[arg-type] # only what it uses
    assert outbox.items == []
    return dialect.seen


def test_what_waits_is_taken_once_in_order() -> None:
    """Each item as what it is."""
    degraded = events.Degraded(message="later")
    custom = events.Custom(timestamp=1.0, name="n", data=b"1")  # type: ignore[arg-type] # Raw, once encoded
    assert taken(text(1), degraded, (1, 2, custom), text(3)) == [text(1), degraded, (1, 2, custom), text(3)]


def test_neighbouring_deltas_of_one_kind_become_one() -> None:
    """At the last one's place and at the first one's time; nothing is joined across anything else."""
    caught_up = events.CaughtUp(cursor="c")
    seen = taken(text(1, "a"), text(2, "b", 3), thought(3), caught_up, thought(4), text(5), text(6))
    joined = events.TextDelta(timestamp=1.6, content="ab", tokens=4, first=1)
    last = events.TextDelta(timestamp=2.0, content="xx", tokens=2, first=5)
    assert seen == [(1, 2, joined), thought(3), caught_up, thought(4), (1, 6, last)]


def test_nothing_is_merged_where_each_is_to_have_its_frame() -> None:
    """As with `?timing=1`."""
    assert taken(text(1), text(2), merge=False) == [text(1), text(2)]


def test_a_full_outbox_says_so_until_it_is_taken() -> None:
    """Memory for one client is bounded."""
    outbox = Outbox(100)
    outbox.items.append(text(1))
    outbox.size_bytes += 99
    assert not outbox.full
    outbox.size_bytes += 1
    assert outbox.full
    outbox.forget_if_empty()
    assert outbox.full
    outbox.take(bytearray(), NativeDialect())
    assert not outbox.full


def test_what_makes_no_frame_is_not_counted() -> None:
    """It is never taken, so nothing would make room for it."""
    outbox = Outbox(100)
    outbox.size_bytes += 100
    outbox.forget_if_empty()
    assert not outbox.full


@given(
    st.text(),
    st.sampled_from([events.TextDelta, events.ReasoningDelta]),
    st.integers(0, 2**53 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**63 - 1),
    st.integers(1, 2**32 - 1),
)
def test_a_delta_has_the_same_bytes_by_either_way(
    content: str,
    kind: type[events.TextDelta | events.ReasoningDelta],
    tenths: int,
    epoch: int,
    sequence: int,
    tokens: int,
) -> None:
    """Whether one format makes them or the encoder of all events: any text, time and number."""
    delta = (epoch, sequence, tenths, kind, content, tokens)
    dialect, plain = NativeDialect(), bytearray()
    dialect.begin(RUN_ID)
    dialect.write_event(plain, epoch, sequence, event_of(delta))
    assert dialect.delta_frame(delta) == bytes(plain)


@pytest.mark.parametrize("content", ["", "\x00\x1f\x7f", '"\\\r\n\u2028', "\U0001f600\ufeff", "é" * 5_000])
def test_texts_that_are_escaped_have_the_same_bytes_by_either_way(content: str) -> None:
    """Control characters, quotes, line ends of all kinds, and what lies beyond the basic plane."""
    dialect, plain = NativeDialect(), bytearray()
    dialect.begin(RUN_ID)
    dialect.write_event(plain, 1, 2, event_of(text(2, content)))
    assert dialect.delta_frame(text(2, content)) == bytes(plain)
