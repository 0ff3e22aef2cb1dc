"""Events as BLOBs: those of all runs in one turn, and those of one run in a chunk. Pure.

A turn is a MessagePack array of [row of the run, number of the first event, [events]], a chunk one of events.
Both say the length of each event, so what is torn is not taken for whole.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

Piece: TypeAlias = tuple[int, int, Sequence[bytes]]
"""Events of one run: its row, the number of the first of them, and they themselves."""

_encode: Final = msgspec.msgpack.Encoder().encode
_turn: Final = msgspec.msgpack.Decoder(list[tuple[int, int, list[bytes]]]).decode
_chunk: Final = msgspec.msgpack.Decoder(list[bytes]).decode


class DamagedError(sqlite3.DatabaseError):
    """What was read is not what was written."""


def pack_turn(pieces: Sequence[Piece]) -> tuple[bytes, int]:
    """Return the events of one turn as one BLOB, and its checksum.

    Args:
        pieces: Those of each run.
    """
    turn = _encode(pieces)
    return turn, zlib.crc32(turn)


def unpack_turn(turn: bytes, checksum: int) -> list[tuple[int, int, list[bytes]]]:
    """Return the events of one turn: for each run its row, the first number, and they themselves.

    Raises:
        DamagedError: It is not whole.
    """
    if zlib.crc32(turn) != checksum:
        raise DamagedError("a row of the journal has another checksum")
    try:
        return _turn(turn)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"a row of the journal can't be read: {error}") from error


def pack_events(events: Sequence[bytes]) -> bytes:
    """Return events of one run as one BLOB."""
    return _encode(events)


def unpack_events(chunk: bytes) -> list[bytes]:
    """Return the events of a chunk.

    Raises:
        DamagedError: It is not whole.
    """
    try:
        return _chunk(chunk)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"a chunk of events can't be read: {error}") from error
