"""Events as BLOBs: what is read is what was written, or it is an error."""

from __future__ import annotations

import zlib

import pytest

from agent_core.log.sqlite.packing import (
    DamagedError,
    pack_events,
    pack_turn,
    unpack_events,
    unpack_turn,
)

TURN = [(1, 1, [b"", b"a"]), (2**40, 2**33, [b"x" * 300, b"y" * 70_000]), (3, 7, [b"z"])]
"""An empty event, and lengths of one, two and four bytes."""


def test_a_turn_is_read_as_it_was_written() -> None:
    """Rows and numbers may be larger than 32 bits."""
    assert unpack_turn(*pack_turn(TURN)) == TURN


def test_a_torn_turn_is_an_error_wherever_it_ends() -> None:
    """By its checksum; and by its own lengths where the checksum is right for what is left."""
    turn, checksum = pack_turn([(1, 1, [b"one", b"two"]), (2, 5, [b"x" * 300])])
    for end in range(len(turn)):
        with pytest.raises(DamagedError, match="another checksum"):
            unpack_turn(turn[:end], checksum)
        with pytest.raises(DamagedError, match="can't be read"):
            unpack_turn(turn[:end], zlib.crc32(turn[:end]))


def test_a_turn_with_any_wrong_bit_is_an_error() -> None:
    """Whether or not it can still be read."""
    turn, checksum = pack_turn([(1, 1, [b"one", b"two"])])
    for place in range(8 * len(turn)):
        wrong = bytearray(turn)
        wrong[place // 8] ^= 1 << place % 8
        with pytest.raises(DamagedError):
            unpack_turn(bytes(wrong), checksum)


def test_a_chunk_is_read_as_it_was_written_or_is_an_error() -> None:
    """Wherever it ends; and where it is something else."""
    events = [b"", b"a", b"x" * 300]
    chunk = pack_events(events)
    assert unpack_events(chunk) == events
    for end in range(len(chunk)):
        with pytest.raises(DamagedError, match="can't be read"):
            unpack_events(chunk[:end])
    with pytest.raises(DamagedError):
        unpack_events(pack_turn(TURN)[0])
