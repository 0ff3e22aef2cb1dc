"""Other cores on the same log, and the messages about runs between them."""

from __future__ import annotations

import enum
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

PeerMessageKind: TypeAlias = Literal["cancel", "left", "following", "input", "input_reply"]


class LogScope(enum.Enum):
    """Where the runs of a core can be followed."""

    PROCESS = "process"
    """Only at this process."""
    CORE = "core"
    """At this core, or the one that comes after it."""
    SHARED = "shared"
    """At every core on the same store."""


class PeerMessage(NamedTuple):
    """A message to the core that writes a run, or its reply."""

    kind: PeerMessageKind
    """`cancel`: stop it. `left`: one of its followers has left by itself. `following`: the sender now has
    `followers` followers of it. `input`: an answer to a question of it. `input_reply`: what became of it."""
    run_id: str
    core: str
    """The sender."""
    followers: int = 0
    """The number of followers at the sender."""
    text: str = ""
    """What else is said, as JSON: with `input` and `input_reply`."""


class PeerListener(Protocol):
    """Gets the messages of other cores, and what becomes of this core's lease."""

    def on_message(self, message: PeerMessage) -> None:
        """Do what a message says about a run that this core writes."""

    def on_peer_lost(self, core: str) -> None:
        """Close the runs of a lost core. Called again until it has none."""

    async def on_lease_lost(self) -> None:
        """Find out which runs this core still writes: its lease had expired, or the log was wiped.

        Until this returns, the lease does not count as held. It retries until the log can be read.
        """

    def on_lease_renewed(self) -> None:
        """Take note that the log can be reached: called about once a second."""

    def on_log_away(self, error: Exception) -> None:
        """Take note that the log can't be reached: called about once a second.

        Args:
            error: The store's.
        """


class Peers(Protocol):
    """The other cores."""

    @property
    def name(self) -> str:
        """The name under which this core holds its lease; empty if no other core can use its log."""

    async def start(self, listener: PeerListener) -> None:
        """Take the lease, and listen.

        Raises:
            LogOpenError: The lease can't be taken.
        """

    async def aclose(self) -> None:
        """Give the lease back."""

    async def send(self, core: str, message: PeerMessage) -> bool:
        """Send a message to a core. Return whether it holds its lease; one that comes back gets it as well.

        Raises:
            LogAwayError: It can't be sent now.
        """

    async def forget(self, core: str) -> None:
        """Remove a lost core, unless it is back or has an open run.

        Raises:
            LogAwayError: That can't be done now.
        """

    async def is_log_complete(self) -> bool:
        """Return whether the log has all runs. False while other cores may write again what it has lost.

        Raises:
            LogAwayError: The log can't be asked now.
        """

    async def wait_for_lease(self) -> None:
        """Return once this core certainly holds its lease: until then it must not act for its runs."""


class NoPeers:
    """The peers of a core that has its store to itself."""

    name: Final = ""

    async def start(self, listener: PeerListener) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def send(self, core: str, message: PeerMessage) -> bool:
        """Return False."""
        del core, message
        return False

    async def forget(self, core: str) -> None:
        """Do nothing."""

    async def is_log_complete(self) -> bool:
        """Return True."""
        return True

    async def wait_for_lease(self) -> None:
        """Return at once."""
