"""Failures: what a run's `Error` says, and what only the log line of it says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from google.rpc import code_pb2

from agent_core.agents.events import AgentError
from tokenwire.reasons import Reason

CODES: Final = frozenset(code_pb2.Code.keys()) - {"OK"}
"""The names of the canonical gRPC codes that an Error may have."""

MAX_TEXT_BYTES: Final = 8 * 1024
"""The longest message, and the longest key and value of a detail, in bytes of UTF-8."""

MAX_DETAILS: Final = 32

logger = logging.getLogger(__name__)


class RubbishError(Exception):
    """An agent did what no agent may: yielded no event, or one that no event can hold."""


class RunTooLargeError(Exception):
    """A run has written more than the log keeps of one run."""


class ToolLimitError(Exception):
    """A run wants more tool calls than it may have. No failure: it ends in Done."""


class AgentExitError(Exception):
    """An agent raised SystemExit or KeyboardInterrupt: it wanted to end the whole process."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an `Error` event says. Every text of it is fit for a user."""

    code: str
    """A canonical gRPC code's name."""
    message: str
    """What went wrong."""
    retryable: bool = False
    """True when the same request may succeed if it is sent again."""
    details: dict[str, str] = field(default_factory=dict)
    """Further facts for programs."""


AGENT_FAILED: Final = Failure("INTERNAL", "The agent failed.", details={"reason": Reason.AGENT_FAILED})

TIMED_OUT: Final = Failure(
    "DEADLINE_EXCEEDED",
    "The run exceeded its time limit.",
    retryable=True,
    details={"reason": Reason.RUN_TIMEOUT},
)

SHUT_DOWN: Final = Failure(
    "UNAVAILABLE",
    "The service restarted before the answer was complete.",
    retryable=True,
    details={"reason": Reason.CORE_SHUTDOWN},
)

PRODUCER_LOST: Final = Failure(
    "UNAVAILABLE",
    "The process of the agent stopped before the answer was complete.",
    retryable=True,
    details={"reason": Reason.PRODUCER_LOST},
)

TOO_LARGE: Final = Failure(
    "RESOURCE_EXHAUSTED",
    "The answer exceeds the size limit (TOKENWIRE_MAX_RUN_BYTES or TOKENWIRE_MAX_RUN_EVENTS).",
    details={"reason": Reason.RUN_TOO_LARGE},
)


def failure_of(error: BaseException) -> Failure:
    """Return what a user may know of what an agent raised.

    Only an AgentError speaks to users, and only a sound one: the first, where a task group has put it into a
    group of exceptions. The text of anything else stays here.
    """
    if isinstance(error, RunTooLargeError):
        return TOO_LARGE
    for raised in _leaves(error):
        if isinstance(raised, AgentError) and _is_sound(raised):
            return Failure(raised.code, raised.message, bool(raised.retryable), dict(raised.details))
    return AGENT_FAILED


def hides_a_bug(error: BaseException | None) -> bool:
    """Return whether a group of exceptions holds one that is no AgentError, beside those that may be."""
    return isinstance(error, BaseExceptionGroup) and not all(
        isinstance(raised, AgentError) for raised in _leaves(error)
    )


def log_failure(  # noqa: PLR0913 # what the line says
    failure: Failure,
    error: BaseException | None,
    run_id: str,
    trace_id: str,
    *,
    stopped: bool,
    fields: Mapping[str, object],
) -> None:
    """Log why a run failed: a user who quotes its run id or trace id can be answered from here.

    Args:
        failure: What the user is told.
        error: What the agent raised; None where it raised nothing.
        run_id: The run.
        trace_id: Its trace; empty where it has none.
        stopped: Whether the run was told to stop before.
        fields: The line's fields for programs.
    """
    # Of a task group's exceptions, one may have spoken to the user, and another one be a bug.
    is_bug = failure is AGENT_FAILED or (hides_a_bug(error) and not stopped)
    why = failure.details.get("reason", failure.code)
    if isinstance(error, RubbishError):
        why = f"{why}: {error}"
    logger.log(
        logging.ERROR if is_bug else logging.INFO,
        "run %s failed: %s%s",
        run_id,
        why,
        f" (trace {trace_id})" if trace_id else "",
        # What an agent may not yield was found in our own code: the line above names the agent's.
        exc_info=error if is_bug and not isinstance(error, RubbishError) else None,
        extra=fields,
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, or all that a group of exceptions holds, however deep."""
    waiting = [error]
    while waiting:
        raised = waiting.pop()
        if isinstance(raised, BaseExceptionGroup):
            waiting.extend(reversed(raised.exceptions))
        else:
            yield raised


def _is_sound(error: AgentError) -> bool:
    """Return whether an `Error` event can hold all that an AgentError says."""
    try:
        texts = (error.message, *error.details, *error.details.values())
        return error.code in CODES and len(error.details) <= MAX_DETAILS and all(map(_is_text, texts))
    except (AttributeError, TypeError):  # a subclass that does not call AgentError's own, details of None
        return False


def _is_text(value: object) -> bool:
    """Return whether a value is a text of sane length that UTF-8 can hold."""
    try:
        return isinstance(value, str) and len(value.encode()) <= MAX_TEXT_BYTES
    except UnicodeEncodeError:
        return False
