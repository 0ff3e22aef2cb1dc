"""A request to start a run, from what a caller wants to what its agent is asked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry.context import Context

from agent_core.agents.events import Agent, RunRequest, Turn
from agent_core.agents.inputs import InputPort
from agent_core.errors import (
    CoreFullError,
    CoreLogAwayError,
    PrincipalFullError,
    RequestIdReusedError,
    SessionHasRunError,
)
from agent_core.log.errors import LogFullError, PrincipalLogFullError, SessionBusyError
from agent_core.log.records import Exchange, RunRecord
from agent_core.runs.writer import LogRefusedError
from tokenwire.cursor import RANDOM_LENGTH, TAG_LENGTH
from tokenwire.principal import owned_key
from tokenwire.v1.run_pb2 import HISTORY_ROLE_USER, History, OnDisconnect, RunSpec

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
"""Base 32 in lower case. Source: https://www.rfc-editor.org/rfc/rfc4648#section-6"""

BITS_PER_CHARACTER: Final = 5
TAG_BITS: Final = TAG_LENGTH * BITS_PER_CHARACTER
RANDOM_BITS: Final = RANDOM_LENGTH * BITS_PER_CHARACTER


class Deadlines(NamedTuple):
    """When a run must have ended, in seconds of the monotonic clock."""

    own: float
    """By the run's own limit: it moves by as long as the run waits for a person."""
    call: float | None = None
    """By the call that started the run and streams it: it does not move, since its caller goes then. None for
    never."""

    @property
    def soonest(self) -> float:
        """The sooner of both, if the run never waits."""
        return self.own if self.call is None else min(self.own, self.call)


# Not called RunRequest: that is what an agent is asked, and a public name.
@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to start a run, accepted: the core may begin it."""

    record: RunRecord
    """Of the new run."""
    spec: RunSpec
    agent: Agent
    deadlines: Deadlines
    parent: Context
    """The trace context of the call."""

    def run_request(
        self, history: Iterable[Exchange], gate: Callable[[], Awaitable[None]], inputs: InputPort
    ) -> RunRequest:
        """Return what the agent is asked.

        Args:
            history: The session's exchanges, oldest first. Unused where the spec has a history of its own.
            gate: Returns once the agent may act.
            inputs: Asks the people who follow the run.
        """
        spec = self.spec
        return RunRequest(
            message=spec.message,
            run_id=self.record.run_id,
            session_id=spec.session_id,
            user_id=spec.user_id,
            history=given_turns(spec.history) if spec.HasField("history") else turns_of(history),
            gate=gate,
            inputs=inputs,
            deadline=self.deadlines.soonest,
            attributes=dict(spec.attributes),
        )


def make_tag(bits: int) -> str:
    """Return the tag of a core's incarnation, from 20 random bits."""
    return _base32(bits, TAG_LENGTH)


def make_run_id(tag: str, bits: int) -> str:
    """Return a run's id, from the incarnation's tag and 130 random bits. Its form: tokenwire.cursor."""
    return tag + _base32(bits, RANDOM_LENGTH)


def given_turns(history: History) -> list[Turn]:
    """Return the conversation that a client sends as an agent reads it."""
    return [
        Turn("user" if message.role == HISTORY_ROLE_USER else "assistant", message.content)
        for message in history.messages
    ]


def turns_of(history: Iterable[Exchange]) -> list[Turn]:
    """Return a session's exchanges as an agent reads them."""
    turns: list[Turn] = []
    for question, answer in history:
        turns += (Turn("user", question), Turn("assistant", answer))
    return turns


def fingerprint(spec: RunSpec) -> bytes:
    """Return a hash of what a request asks for: equal requests have equal ones."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()


def record_of(  # noqa: PLR0913, PLR0917 # a record is what it is made of
    spec: RunSpec,
    run_id: str,
    agent: str,
    owner: str,
    on_disconnect: OnDisconnect.ValueType,
    core: str,
) -> RunRecord:
    """Return the record of the run that a request asks for, made now.

    Args:
        spec: What the caller wants.
        run_id: The new run's.
        agent: The agent's name.
        owner: The principal that asks.
        on_disconnect: Holds where the spec leaves it open.
        core: The core that writes it; empty where no other core could.
    """
    return RunRecord(
        run_id=run_id,
        session_id=spec.session_id,
        agent=agent,
        on_disconnect=spec.on_disconnect or on_disconnect,
        create_unix_nano=time.time_ns(),
        owner=owner,
        # Each principal has request ids of its own.
        request_key=owned_key(owner, spec.request_id) if spec.request_id else "",
        fingerprint=fingerprint(spec) if spec.request_id else b"",
        core=core,
        message=spec.message,
    )


def same_request(standing: RunRecord, record: RunRecord) -> str:
    """Return the id of the run that stands for a request.

    Raises:
        RequestIdReusedError: It was started by another request.
    """
    if standing.fingerprint != record.fingerprint:
        raise RequestIdReusedError(standing.run_id)
    return standing.run_id


def deadlines_of(spec: RunSpec, call_deadline: float | None, run_timeout_s: float) -> Deadlines:
    """Return when a run must have ended, that begins now.

    Args:
        spec: What the caller wants, with the run's own timeout or none.
        call_deadline: When the call must have ended; None for never.
        run_timeout_s: The longest time that any run may take.
    """
    limit_s = run_timeout_s
    if spec.HasField("timeout"):
        limit_s = min(limit_s, spec.timeout.ToTimedelta().total_seconds())
    return Deadlines(time.monotonic() + limit_s, call_deadline)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the log says of a run that could not be begun into what its caller is answered.

    Raises:
        PrincipalFullError: The log has no room for another run of this principal.
        CoreFullError: It has none for another run at all.
        SessionHasRunError: Another run of the session goes on.
        CoreLogAwayError: The log does not take the run's beginning.
    """
    try:
        yield
    except PrincipalLogFullError as error:
        raise PrincipalFullError from error
    except LogFullError as error:
        raise CoreFullError from error
    except SessionBusyError as error:
        raise SessionHasRunError(error.run_id) from error
    except LogRefusedError as error:
        raise CoreLogAwayError from error


def _base32(bits: int, length: int) -> str:
    """Return the lowest bits, five to a character, highest first."""
    return "".join(
        ALPHABET[bits >> BITS_PER_CHARACTER * place & 0b11111] for place in reversed(range(length))
    )
