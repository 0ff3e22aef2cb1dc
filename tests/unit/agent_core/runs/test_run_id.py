"""Run ids."""

from hypothesis import given
from hypothesis import strategies as st

from agent_core.runs.run_id import ALPHABET, RANDOM_BITS, TAG_BITS, make_run_id, make_tag
from tokenwire.cursor import is_run_id, tag_of


@given(st.integers(0, 2**TAG_BITS - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_an_id_is_a_tag_and_random_bits(tag_bits: int, bits: int) -> None:
    """30 characters, and every bit of both is in them."""
    tag = make_tag(tag_bits)
    run_id = make_run_id(tag, bits)
    assert is_run_id(run_id)
    assert tag_of(run_id) == tag
    value = 0
    for character in run_id:
        value = value << 5 | ALPHABET.index(character)
    assert value == tag_bits << RANDOM_BITS | bits
