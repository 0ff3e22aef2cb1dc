"""How much a store of runs keeps, and how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from agent_core.log.settings import LogSettings

FLOOR_BYTES: Final = 64 * 1024
"""The shortest ring that is of use to a reader: some hundred tokens, half a minute of a fast model."""


MESSAGE_IN_FLOOR_BYTES: Final = FLOOR_BYTES // 4
"""So much of a user's message counts as a part of the shortest ring: then as many runs go on as there are
shortest rings, unless messages are long. `shares.lua` has it, too."""

_DEFAULTS: Final = LogSettings()


@dataclass(frozen=True, slots=True)
class LogBudget:
    """How much a store keeps, and how long.

    A run's log is a ring: beyond its budget the oldest events go, and `first` moves on. The newest
    one always stays, so the terminal event does.
    """

    run_bytes: int = _DEFAULTS.log_run_bytes
    """The most bytes of events of one run."""
    run_events: int = _DEFAULTS.log_run_events
    """The most events of one run."""
    total_bytes: int = _DEFAULTS.log_total_bytes
    """The most bytes of all runs and sessions. Ended runs that nobody reads are forgotten early, oldest
    first, then what sessions remember; then no run is created unless there is room for its whole ring; then
    the largest lose their oldest events. With shares, all this is asked of who holds the most."""
    retention_s: float = _DEFAULTS.log_retention_s
    """How long a run is kept after its end."""
    session_exchanges: int = _DEFAULTS.session_exchanges
    """The most exchanges that are kept of a session: the newest."""
    session_bytes: int = _DEFAULTS.session_bytes
    """The most bytes of text (in UTF-8) that are kept of a session's exchanges. One that is larger by
    itself is not kept."""
    session_retention_s: float = _DEFAULTS.session_retention_s
    """How long a session's exchanges are kept after the last of them: they are forgotten as a whole."""
    principal_bytes: int = 0
    """The most bytes of all runs and sessions of one owner; 0 where owners have no shares. Beyond it, hers
    are forgotten and trimmed in the same order, and no run of hers is created unless `floor_bytes` are left
    for each of those that go on."""

    @classmethod
    def of(cls, settings: LogSettings, *, principals: bool) -> Self:
        """Return what a store is to keep by an operator's settings.

        Args:
            settings: What is set.
            principals: Whether callers prove who they are: else owners have no shares.
        """
        return cls(
            run_bytes=settings.log_run_bytes,
            run_events=settings.log_run_events,
            total_bytes=settings.log_total_bytes,
            principal_bytes=settings.principal_log_bytes if principals else 0,
            retention_s=settings.log_retention_s,
            session_exchanges=settings.session_exchanges,
            session_bytes=settings.session_bytes,
            session_retention_s=settings.session_retention_s,
        )

    @property
    def sessions_bytes(self) -> int:
        """The most bytes of what all sessions remember: it must not keep ended runs from being kept."""
        return self.total_bytes // 4

    @property
    def principal_sessions_bytes(self) -> int:
        """The most bytes of what one owner's sessions remember; 0 for no limit."""
        return self.principal_bytes // 4

    @property
    def floor_bytes(self) -> int:
        """The least that is left of a run's ring for another run's start."""
        return min(FLOOR_BYTES, self.run_bytes)


def beyond_floor(message_bytes: int) -> int:
    """Return what a message needs beside the shortest ring. It can't be shortened, unlike events.

    Args:
        message_bytes: The message's length in UTF-8.
    """
    return max(0, message_bytes - MESSAGE_IN_FLOOR_BYTES)


def ring_target(limit: int) -> int:
    """Return what a ring is cut down to once it has passed a limit.

    A sixteenth below: cutting costs as much for one event as for many.
    """
    return limit - limit // 16
