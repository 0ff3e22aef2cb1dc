"""Other cores on the same log: what they say to each other about runs."""

from __future__ import annotations

import enum
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

WordKind: TypeAlias = Literal["cancel", "left", "following"]


class LogScope(enum.Enum):
    """Where the runs of a core can be followed."""

    PROCESS = "process"
    """At this process alone."""
    CORE = "core"
    """At this core, or the one that comes after it."""
    SHARED = "shared"
    """At every core on the same store."""


class Word(NamedTuple):
    """What one core tells the one that writes a run."""

    kind: WordKind
    """`cancel`: stop it. `left`: somebody who followed it has left by himself. `following`: so many follow
    it at the sender now."""
    run_id: str
    core: str
    """The sender."""
    followers: int = 0
    """How many follow it at the sender."""


class Hears(Protocol):
    """What a core does with what it hears."""

    def heard(self, word: Word) -> None:
        """Take a word for a run that this core writes."""

    def peer_lost(self, core: str) -> None:
        """Close the runs of a core that is gone. Called again until it has none."""

    async def lease_lost(self) -> None:
        """Find out which runs this core still writes: it was taken for gone, or the log was wiped.

        Until this returns, the lease does not count as held: it tries until the log can say.
        """

    def renewed(self) -> None:
        """Take note that the log is there: called about once a second."""

    def log_away(self, error: Exception) -> None:
        """Take note that the log is away: called about once a second.

        Args:
            error: What it has said.
        """


class Peers(Protocol):
    """The other cores."""

    @property
    def name(self) -> str:
        """The name under which this core holds its lease; empty when it is alone with its log."""

    async def start(self, hears: Hears) -> None:
        """Take the lease, and listen.

        Raises:
            LogOpenError: It can't be had.
        """

    async def aclose(self) -> None:
        """Give the lease back."""

    async def tell(self, core: str, word: Word) -> bool:
        """Tell a core something. Return whether it is known to live: one that comes back hears it, too.

        Raises:
            LogAwayError: It can't be told now.
        """

    async def forget(self, core: str) -> None:
        """Remember a lost core no longer, unless it is back or has an open run.

        Raises:
            LogAwayError: That can't be done now.
        """

    async def settled(self) -> bool:
        """Return whether a run that is not in the log is known to nobody: another core may bring it back.

        Raises:
            LogAwayError: The log can't say.
        """

    async def held(self) -> None:
        """Return once this core certainly holds its lease: until then it must not act for its runs."""


class Alone:
    """No other cores: the store belongs to this one."""

    name: Final = ""

    async def start(self, hears: Hears) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def tell(self, core: str, word: Word) -> bool:
        """Return False: there is nobody."""
        del core, word
        return False

    async def forget(self, core: str) -> None:
        """Do nothing."""

    async def settled(self) -> bool:
        """Return True: there is nobody else."""
        return True

    async def held(self) -> None:
        """Return at once."""
