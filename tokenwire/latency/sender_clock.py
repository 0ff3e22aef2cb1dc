"""The clock of whoever sent a message, as its reader keeps it."""

from __future__ import annotations

from typing import NamedTuple


class SenderClock(NamedTuple):
    """A `Clock` of the contract, read once: many followers share a message of a link."""

    id: int
    """Names the monotonic clock; 0 if the message named none."""
    send_nano: int
    """When the message was sent, in nanoseconds of that clock."""
    send_unix_nano: int
    """The same moment in Unix time; 0 if it was not told."""
    loop_lag_nano: int
    """How long the sender's event loop stood still since the message before, in nanoseconds."""
