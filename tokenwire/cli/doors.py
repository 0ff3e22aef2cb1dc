"""What `ask` needs of a server, whichever door it goes through."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tokenwire.addresses import is_near

TERMINAL = frozenset({"done", "error"})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    message: str
    """What the user says."""
    agent: str = ""
    """The agent; empty for the core's default."""
    session_id: str = ""
    """The conversation; empty for none."""
    timeout_s: float | None = None
    """The longest time that the run may take, in seconds; None for the server's limit."""
    request_id: str = field(default_factory=lambda: secrets.token_hex(16))
    """Names the run that is started, however often the start is sent."""


@dataclass(frozen=True, slots=True)
class Access:
    """What proves to a server who asks."""

    api_key: str = field(default="", repr=False)
    """An API key or a JWT; empty for none. A core is sent it where there is no `principal_key`."""
    principal: str = "cli"
    """Who asks, for the core, as `principal_key` signs it."""
    principal_key: str = field(default="", repr=False)
    """The core's own; empty where that is not known."""
    tls_ca: Path | None = None
    """PEM of the authorities that the core's certificate is checked against; None for no TLS."""
    tls_cert: Path | None = None
    """PEM of the certificate to show to the core; None for none."""
    tls_key: Path | None = None
    """PEM of its key."""

    def require_private(self, cores: Sequence[str]) -> None:
        """Return if no other can read the API key on its way to any of these cores, or none is sent.

        Args:
            cores: From `tokenwire.addresses.read_targets`.

        Raises:
            ValueError: Others could.
        """
        if not self.api_key or self.principal_key or self.tls_ca is not None:
            return
        for core in cores:
            if not is_near(core):
                raise ValueError(
                    f"the API key would be sent to {core} unencrypted: use TLS (--tls-ca), or a core on this "
                    "machine; to call it without the key, unset TOKENWIRE_API_KEY"
                )


@dataclass(frozen=True, slots=True)
class Received:
    """One event of the run, or one control said between events."""

    id: str
    """`runId.epoch.sequence`; empty when the server gave none."""
    type: str
    """The event's word, such as `text_delta`; a control's, such as `resync`. Empty for an unknown one."""
    fields: dict[str, Any]
    """The event as the browser's JSON has it, without `type`."""
    is_control: bool = False
    """True for what is no part of the run."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows it."""
        return self.type in TERMINAL and not self.is_control


class Door(Protocol):
    """A way to start a run, to follow it and to stop it."""

    run_id: str
    """The run's id; empty until it is known."""
    is_dense: bool
    """Whether every event of a run comes through it, also those that are unknown here."""
    retry_s: float
    """How long the server asks to wait before it is followed again, in seconds; 0 when it does not."""
    guard_s: float
    """How long after a question's timeout the client itself steps in, in seconds."""

    @property
    def place(self) -> str:
        """The server's address, for messages."""
        ...

    @property
    def is_out_of_reach(self) -> bool:
        """Whether all its addresses were tried, and no server has ever answered."""
        ...

    def start(self, question: Question) -> AsyncIterator[Received]:
        """Start a run and yield what comes, until the stream ends. The same question starts one run only.

        Raises:
            UnreachableError: The server can't be reached; no run was started.
            RefusedError: The server wants no such run.
            BrokenError: The stream broke; the run may have been started, and may go on.
        """
        ...

    def follow(self, after: str) -> AsyncIterator[Received]:
        """Yield what comes after an event of the run, until the stream ends.

        Args:
            after: The id of the last event seen; empty to begin with the first.

        Raises:
            UnreachableError: The server can't be reached at the moment.
            RefusedError: The run can't be followed any more.
            BrokenError: The stream broke.
        """
        ...

    async def turn(self) -> None:
        """Go on at the next address, with a connection of its own."""
        ...

    async def cancel(self) -> None:
        """Stop the run.

        Raises:
            UnreachableError: The server can't be reached.
            BrokenError: The connection broke.
            RefusedError: The run can't be stopped.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


class DoorError(Exception):
    """What went wrong at a door. Its text is fit for the terminal."""


class UnreachableError(DoorError):
    """The server can't be reached."""


class BrokenError(DoorError):
    """The stream broke before the run's end."""


class RefusedError(DoorError):
    """The server answered, and will not do it.

    Args:
        code: A canonical gRPC code's name, or `HTTP 404`.
        message: The server's words.
        details: Further facts, such as the agents that there are.
        retry_s: When to ask again, in seconds from now; None when that would not help.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, str] | None = None,
        *,
        retry_s: float | None = None,
    ) -> None:
        facts = "; ".join(
            f"{name}: {value}" for name, value in sorted((details or {}).items()) if name != "reason"
        )
        super().__init__(": ".join(filter(None, (code, message))) + (f" ({facts})" if facts else ""))
        self.code = code
        self.retry_s = retry_s
