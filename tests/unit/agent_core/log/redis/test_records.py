"""What Redis holds of a run, and what is told of an append: as bytes and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.log.position import START, Position
from agent_core.log.records import Exchange, Outcome
from agent_core.log.redis.records import (
    decode_hint,
    encode_exchange,
    exchanges_of,
    info_of,
    meta_fields,
    place_of,
    position_of,
)
from tests.support.stores import RUN, record

NUMBERS = st.integers(0, 2**53)


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x00" * 14])
def test_what_is_no_hint_is_refused(message: bytes) -> None:
    """Somebody else may publish on the channel."""
    with pytest.raises(ValueError, match="no hint"):
        decode_hint(message)


def as_found(fields: list[str | bytes | int]) -> dict[bytes, bytes]:
    """Return a hash as Redis gives it."""
    texts = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_a_runs_hash_says_what_its_record_did() -> None:
    """A run that has no event yet has its first one to come."""
    given_record = record(key="ann\nr", fingerprint=b"\x00\xff", owner="änn", session="s", create=7, core="c")
    info = info_of(as_found(meta_fields(given_record)))
    assert info.record == given_record
    assert (info.first, info.last, info.outcome) == (Position(1, 1), START, None)


def test_of_a_reaped_run_only_the_last_event_is_of_the_next_epoch() -> None:
    """The first one is, too, where it is the only one that is left."""
    meta = as_found(meta_fields(record()))
    meta |= {b"n": b"9", b"le": b"2", b"f": b"3", b"out": b"error", b"why": b"UNAVAILABLE"}
    info = info_of(meta)
    assert (info.first, info.last) == (Position(1, 3), Position(2, 9))
    assert info.outcome == Outcome("error", "UNAVAILABLE")
    assert info_of(meta | {b"f": b"9"}).first == Position(2, 9)


def test_a_run_without_events_is_at_the_start_whatever_its_epoch() -> None:
    """Number 0 is no event."""
    assert position_of(b"2", b"0") == START


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5), st.integers(0, 200))
def test_a_session_remembers_all_until_its_newest_expires(said: list[tuple[str, str]], now: int) -> None:
    """Line breaks in what was said do no harm."""
    exchanges = [Exchange(*pair) for pair in said]
    items = [b"%d 5\n%b" % (90 + at, encode_exchange(exchange)) for at, exchange in enumerate(exchanges)]
    expected = exchanges if now < 89 + len(exchanges) else []
    assert exchanges_of(items, now) == expected


@given(NUMBERS, NUMBERS)
def test_places_order_as_creations_do(one: int, other: int) -> None:
    """As texts, which is how Redis compares them."""
    assert (place_of(one, RUN) < place_of(other, RUN)) == (one < other)
