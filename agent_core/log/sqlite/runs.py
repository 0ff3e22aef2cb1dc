"""What the store `sqlite:PATH` has in mind of runs, beside its file."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_core.log.contract import FIRST_EPOCH


@dataclass(slots=True)
class Change:
    """What became of a run in one transaction, for those who read it in this process."""

    events: list[bytes] = field(default_factory=list)
    """What was written, in order."""
    epoch: int = FIRST_EPOCH
    """The last one's."""
    first: int = 1
    """The first event that is left."""
    created: bool = False
    closed: bool = False
    gone: bool = False


@dataclass(slots=True)
class WrittenRun:
    """What the writer has in mind of a run."""

    run_id: str
    account: str
    row: int
    epoch: int
    closed: bool
    first: int
    last: int
    size_bytes: int
    """Of its events."""
    message_bytes: int = 0
