"""What a run is to be: what was asked for, how long it may take, why it may be stopped."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from opentelemetry.context import Context

from agent_core.agents.events import Agent, RunRequest, Turn
from agent_core.log.contract import Exchange, RunRecord
from agent_core.runs.state import RunLimits
from tokenwire.v1.run_pb2 import HISTORY_ROLE_USER, History, RunSpec


class StopCause(enum.Enum):
    """Why a run is stopped before its agent came to an end."""

    CANCELLED = "cancelled"
    """Somebody has said so."""
    FOLLOWER_LEFT = "follower_left"
    """Its last follower has gone, or it never had one, and its OnDisconnect wants its end."""
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    LOG_LOST = "log_lost"


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How long things may take, in seconds."""

    disconnect_grace_s: float = 30.0
    """How long a run goes on without followers, where its OnDisconnect says grace."""
    stop_grace_s: float = 5.0
    """How long an agent may take to stop once it was told to. Then the run ends without it."""
    run_timeout_s: float = 3600.0
    """The longest time that any run may take."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is to be."""

    record: RunRecord
    spec: RunSpec
    agent: Agent
    deadline: float
    """When it must have ended, in seconds of the monotonic clock."""
    parent: Context
    """The trace context of the call that starts it."""
    limits: RunLimits
    """How much it may say."""

    def request(self, history: Iterable[Exchange], gate: Callable[[], Awaitable[None]]) -> RunRequest:
        """Return what the agent is asked.

        Args:
            history: What its session remembers; it counts where the spec has no history of its own.
            gate: Returns once the agent may act.
        """
        spec = self.spec
        return RunRequest(
            message=spec.message,
            run_id=self.record.run_id,
            session_id=spec.session_id,
            user_id=spec.user_id,
            history=told_turns(spec.history) if spec.HasField("history") else turns_of(history),
            gate=gate,
            deadline=self.deadline,
            attributes=dict(spec.attributes),
        )


def told_turns(history: History) -> list[Turn]:
    """Return a conversation that the client tells as an agent reads it."""
    return [
        Turn("user" if message.role == HISTORY_ROLE_USER else "assistant", message.content)
        for message in history.messages
    ]


def turns_of(history: Iterable[Exchange]) -> list[Turn]:
    """Return what a session remembers as an agent reads it."""
    turns: list[Turn] = []
    for question, answer in history:
        turns += (Turn("user", question), Turn("assistant", answer))
    return turns
