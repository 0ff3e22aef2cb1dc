"""What an agent is asked, and what it may yield.

An agent is an async generator function:

    async def agent(request: RunRequest) -> AsyncIterator[AgentEvent | str]: ...

A yielded `str` is a `TextDelta`. Returning ends the run with `Done`, raising with
`Error`; cancelling the run throws `CancelledError` into it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from agent_core.agents.inputs import DEFAULT_TIMEOUT_S, InputKind, InputPort, make_question
from tokenwire.reasons import Reason

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | JsonText | None"
)
FinishReasonName: TypeAlias = Literal["stop", "length", "tool_limit"]


class JsonText(str):
    """A JSON value that is already text: checked, then passed on as it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    content: str
    """At least one character; an empty delta is dropped."""
    token_count: int = 1
    """How many model tokens the piece holds."""


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thought; no part of the answer."""

    content: str
    """At least one character; an empty delta is dropped."""
    token_count: int = 1
    """How many model tokens the piece holds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a longer operation has come."""

    percent: float | None
    """0 to 100; None when it can't be told."""
    message: str
    """What is being done, fit for a user."""
    step: str = ""
    """The step's name, for programs."""


@dataclass(frozen=True, slots=True)
class ToolStart:
    """A tool call began."""

    call_id: str
    """Names the call within its run."""
    tool: str
    """The tool's name."""
    args: JsonValue = None
    """The arguments."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call ended."""

    call_id: str
    """The call_id of its ToolStart."""
    tool: str
    """The tool's name."""
    result: JsonValue = None
    """What came back; the failure's description when is_error is set."""
    is_error: bool = False
    """True when the tool failed."""


@dataclass(frozen=True, slots=True)
class Custom:
    """An event of the application's own."""

    name: str
    """The event's name."""
    data: JsonValue = None
    """The data."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used over all model calls of a run. None: not told by the provider."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """What the run's `Done` shall say beyond the text. Yielded last, by agents that know it."""

    reason: FinishReasonName = "stop"
    """Why the agent stopped."""
    usage: Usage | None = None
    """Tokens used."""


AgentEvent: TypeAlias = TextDelta | ReasoningDelta | Progress | ToolStart | ToolResult | Custom | Finish


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of the session."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What an agent is asked."""

    message: str
    """What the user said."""
    run_id: str = ""
    """The run's id."""
    session_id: str = ""
    """The session's id; empty for none."""
    user_id: str = ""
    """A label for the user, never an identity; empty for none."""
    history: Sequence[Turn] = ()
    """The session's earlier turns, oldest first."""
    deadline: float | None = None
    """When the run must have ended, in seconds of `time.monotonic()`, if it does not ask; None for never. The
    time that the run waits for answers does not count: `remaining_s` knows."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The caller's labels."""

    gate: Callable[[], Awaitable[None]] | None = None
    """What `may_act` asks; None where there is nothing to ask."""
    inputs: InputPort | None = field(default=None, compare=False, repr=False)
    """What `ask` asks; None outside a core."""

    async def ask(
        self,
        prompt: str,
        kind: InputKind = "approval",
        *,
        options: Iterable[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Any:
        """Ask a person who follows the run, and return the answer; None where the question was declined.

        Several questions may be open at once, from tasks of the agent's own. Cancel the `ask`, and the
        question is closed.

        Args:
            prompt: The question, in words for users.
            kind: `approval` returns a bool, `choice` one of the options, `text` a str, `json` any JSON value.
            options: The answers of a `choice`: 1 to 100 different texts.
            schema: A JSON Schema of a `json` answer, from which clients make a form. The core checks
                what `docs/agents.md` lists; check again what must hold.
            timeout_s: How long to wait, in seconds.

        Raises:
            InputExpired: No answer came in time.
            ValueError: It can't be asked like that, or too many questions are open.
            RuntimeError: The run has ended, or there is no core.
        """
        question = make_question(prompt, kind, options=options, schema=schema, timeout_s=timeout_s)
        return await self._port().ask(question)

    def ask_blocking(
        self,
        prompt: str,
        kind: InputKind = "approval",
        *,
        options: Iterable[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Any:
        """Ask as `ask` does, and wait for the answer: for agents and tools that are not async.

        Raises:
            RuntimeError: As `ask`, and in an event loop's thread of the core, which it would block.
        """
        question = make_question(prompt, kind, options=options, schema=schema, timeout_s=timeout_s)
        return self._port().ask_blocking(question)

    def _port(self) -> InputPort:
        if self.inputs is None:
            raise RuntimeError("only an agent that a core runs can ask: this request has no run")
        return self.inputs

    async def may_act(self) -> None:
        """Return once the core still certainly owns this run.

        To be awaited before something that must not happen in a run which another core has taken for lost:
        a core that was cut off from its log for seconds waits here, and its run is mostly cancelled then. A
        `ToolStart` that is yielded before its tool is called asks by itself.
        """
        if self.gate is not None:
            await self.gate()

    def remaining_s(self) -> float | None:
        """Return the seconds left until the deadline (0 when it has passed), or None without one."""
        deadline = self.deadline if self.inputs is None else self.inputs.deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())


current: Final[ContextVar[RunRequest]] = ContextVar("tokenwire_run_request")
"""The request of the run that the present task, or thread of an agent, belongs to. The core sets it."""


def current_request() -> RunRequest:
    """Return what the running agent is asked: for tools that a library calls without it.

    Raises:
        RuntimeError: No agent of a core calls this.
    """
    try:
        return current.get()
    except LookupError:
        raise RuntimeError("no run of a core goes on in this task or thread") from None


Agent: TypeAlias = Callable[[RunRequest], AsyncIterator[AgentEvent | str]]
"""An agent. It may also have `model: str`, shown in RunStarted, and may be an async
context manager: the core enters it before it serves and leaves it when it has stopped."""


class AgentError(Exception):
    """Ends a run with an `Error` that says just this to the user.

    Anything else that an agent raises becomes `INTERNAL` with a trace id: its text stays in the log.

    Args:
        code: A canonical gRPC code's name, such as "UNAVAILABLE".
        message: What went wrong, fit for a user.
        retryable: True when the same request may succeed if it is sent again.
        details: Further facts for programs.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details: dict[str, str] = dict(details or {})


class InputExpired(AgentError):  # noqa: N818 # what has happened, as TimeoutError's kin are named in asyncio
    """No answer to a question came in time. Uncaught, it ends the run."""

    def __init__(self) -> None:
        super().__init__(
            "DEADLINE_EXCEEDED",
            "No answer to the question came in time.",
            retryable=True,
            details={"reason": Reason.INPUT_EXPIRED},
        )
