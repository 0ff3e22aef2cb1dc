"""What a store keeps of a run and of a session besides events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from agent_core.log.position import Position
from tokenwire.v1.run_pb2 import OnDisconnect


class Outcome(NamedTuple):
    """Which terminal event a run ended in."""

    event: str
    """The terminal event's name: "done" or "error"."""
    reason: str
    """The finish reason's name of a Done, or the canonical gRPC code's name of an Error."""


class Exchange(NamedTuple):
    """One question of a session, and what was answered."""

    question: str
    answer: str
    """The text of a run that ended in Done: the text so far of a cancelled one."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a store keeps of a run besides its events, from creation on."""

    run_id: str
    session_id: str
    agent: str
    on_disconnect: OnDisconnect.ValueType
    create_unix_nano: int
    owner: str = ""
    """The principal that started the run: nobody else is told that it exists."""
    request_key: str = ""
    """Names the request that started the run; empty for none. No two runs of a store share one."""
    fingerprint: bytes = b""
    """What that request asked for, hashed: another request under the same key has another one."""
    core: str = ""
    """The core that writes the run, by the name under which it holds its lease. Empty where a store
    belongs to one core."""
    message: str = field(default="", repr=False, compare=False)
    """What the user said: given with `create` and `restore`. A record that is read from a store has none,
    for a message is long, and few need it: ask for it with `messages`. It has no part in `repr`, so that no
    log line and no traceback shows it."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a store knows of a run."""

    record: RunRecord
    first: Position
    """The first event that the log still holds; the first to come, when it holds none."""
    last: Position
    """The last event."""
    outcome: Outcome | None = None
    """How it ended; None while the log is open."""
    end_unix_nano: int = 0
    """When it was closed; 0 while it is open."""
    expire_unix_nano: int = 0
    """When the store forgets it; 0 while it is open."""


def exchange_bytes(exchange: Exchange) -> int:
    """Return what an exchange counts in a session's budget: its text in UTF-8."""
    return len(exchange.question.encode()) + len(exchange.answer.encode())
