"""Runs, exchanges and hints as Redis holds them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from agent_core.log.append import Appended, AppendStatus
from agent_core.log.position import FIRST_EPOCH, START, Position
from agent_core.log.records import Exchange, Outcome, RunInfo, RunRecord
from tokenwire.v1.run_pb2 import OnDisconnect

CLOSED: Final = 1
GONE: Final = 2

_HEAD: Final = struct.Struct("<BIQ")
_LENGTH: Final = struct.Struct("<I")


class Hint(NamedTuple):
    """What is told of an append."""

    flags: int
    """CLOSED: the log is closed now. GONE: the run was forgotten."""
    epoch: int
    first: int
    """The number of the first event here."""
    events: Sequence[bytes]
    """Sealed events; none where they are too large: `hints.lua`."""


def appended_of(answer: Sequence[Any]) -> Appended:
    """Return what a script answers to an append, in the contract's words."""
    return Appended(AppendStatus[answer[0].decode()], int(answer[1]) if len(answer) > 1 else 0)


def gone_hint() -> bytes:
    """Return the hint that a run was forgotten."""
    return _HEAD.pack(GONE, 0, 0)


def decode_hint(message: bytes) -> Hint:
    """Return the hint that bytes hold.

    Raises:
        ValueError: They hold none.
    """
    try:
        flags, epoch, first = _HEAD.unpack_from(message)
        events, at = [], _HEAD.size
        while at < len(message):
            (length,) = _LENGTH.unpack_from(message, at)
            at += _LENGTH.size
            events.append(message[at : at + length])
            at += length
    except struct.error as error:
        raise ValueError("no hint") from error
    return Hint(flags, epoch, first, events)


def meta_fields(record: RunRecord) -> list[str | bytes | int]:
    """Return the fields and values of a new run's hash."""
    return [
        *("run", record.run_id, "session", record.session_id, "agent", record.agent),
        *("disconnect", record.on_disconnect, "create", record.create_unix_nano, "owner", record.owner),
        *("request", record.request_key, "fingerprint", record.fingerprint, "core", record.core),
        *("e", FIRST_EPOCH, "n", 0, "le", FIRST_EPOCH, "f", 1, "bytes", 0),
        *("out", "", "why", "", "end", 0, "expire", 0),
        # As bytes, which count in what goes in one round trip.
        *("message", record.message.encode()),
    ]


INFO_FIELDS: Final = (
    *(b"run", b"session", b"agent", b"disconnect", b"create", b"owner", b"request", b"fingerprint", b"core"),
    *(b"n", b"le", b"f", b"out", b"why", b"end", b"expire"),
)
"""What `info_of` needs of a run's hash: not the message, which is long."""


def info_of(meta: Mapping[bytes, bytes]) -> RunInfo:
    """Return what a run's hash says.

    Args:
        meta: The values of INFO_FIELDS, by their names.
    """
    record = RunRecord(
        run_id=meta[b"run"].decode(),
        session_id=meta[b"session"].decode(),
        agent=meta[b"agent"].decode(),
        on_disconnect=OnDisconnect.ValueType(int(meta[b"disconnect"])),
        create_unix_nano=int(meta[b"create"]),
        owner=meta[b"owner"].decode(),
        request_key=meta[b"request"].decode(),
        fingerprint=meta[b"fingerprint"],
        core=meta[b"core"].decode(),
    )
    last = position_of(meta[b"le"], meta[b"n"])
    first = int(meta[b"f"])
    # The only event that is not of the first epoch is the last one of a reaped run.
    return RunInfo(
        record=record,
        first=Position(last.epoch if first == last.sequence else FIRST_EPOCH, first),
        last=last,
        outcome=Outcome(meta[b"out"].decode(), meta[b"why"].decode()) if meta[b"out"] else None,
        end_unix_nano=int(meta[b"end"]),
        expire_unix_nano=int(meta[b"expire"]),
    )


def position_of(epoch: bytes, sequence: bytes) -> Position:
    """Return a position from the texts of its parts."""
    return Position(int(epoch), int(sequence)) if sequence != b"0" else START


def events_of(found: Sequence[bytes], after: int) -> tuple[int, Sequence[bytes]]:
    """Return what `read.lua` has found: the first event's number, and the events.

    Args:
        found: An id, an event and an epoch each.
        after: After which number it was asked for.
    """
    first = int(found[0].partition(b"-")[0]) if found else after + 1
    return first, found[1::3]


def encode_exchange(exchange: Exchange) -> bytes:
    """Return an exchange as Redis holds it, without its head."""
    return msgspec.json.encode((exchange.question, exchange.answer))


def exchanges_of(said: Iterable[bytes], unix_nano: int) -> list[Exchange]:
    """Return a session's exchanges, oldest first; none when the newest has expired.

    Args:
        said: `EXPIRY BYTES`, a line break and an encoded exchange each.
        unix_nano: Now.
    """
    exchanges: list[Exchange] = []
    expire = 0
    for item in said:
        head, _, encoded = item.partition(b"\n")
        expire = int(head.split()[0])
        exchanges.append(Exchange(*msgspec.json.decode(encoded, type=tuple[str, str])))
    return exchanges if expire > unix_nano else []


def place_of(create_unix_nano: int, run_id: str) -> str:
    """Return where a run stands in its session's sorted set: by its creation, then by its id."""
    return f"{create_unix_nano:020} {run_id}"
