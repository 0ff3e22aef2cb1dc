"""What the store `sqlite:PATH` has in mind of runs, beside its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent_core.log.position import FIRST_EPOCH


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


@dataclass(slots=True, eq=False)
class WrittenRun:
    """What the writer has in mind of a run."""

    run_id: str
    account: str
    row: int
    epoch: int
    closed: bool = False
    first: int = 1
    last: int = 0
    size_bytes: int = 0
    """Of its events."""
    message_bytes: int = 0
    tail: list[bytes] = field(default_factory=list)
    """The newest events: those that are in the journal alone, in no chunk yet."""
    tail_bytes: int = 0

    def saved(self) -> Callable[[], None]:
        """Return what sets the run back to what it is now."""
        fields = (self.epoch, self.closed, self.first, self.last, self.size_bytes, self.tail_bytes)
        tail, count = self.tail, len(self.tail)

        def restore() -> None:
            self.epoch, self.closed, self.first, self.last, self.size_bytes, self.tail_bytes = fields
            self.tail = tail
            del tail[count:]

        return restore
