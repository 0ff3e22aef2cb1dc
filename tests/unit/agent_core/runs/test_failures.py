"""What a run's Error says, and what it never says."""

import pytest

from agent_core.agents import AgentError
from agent_core.runs.failures import AGENT_FAILED, TOO_LARGE, Failure, RunTooLargeError, failure_of


def test_an_agent_error_speaks_for_itself() -> None:
    """Its message is meant for the user."""
    error = AgentError("UNAVAILABLE", "Try later.", retryable=True, details={"provider": "x"})
    assert failure_of(error) == Failure("UNAVAILABLE", "Try later.", True, {"provider": "x"})


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("secret"),
        SystemExit(1),
        AgentError("OK", "no failure"),
        AgentError("NO_SUCH_CODE", "x"),
        AgentError("INTERNAL", "\ud800"),
        AgentError("INTERNAL", 7),
        AgentError("INTERNAL", "x" * 10_000),
        AgentError("INTERNAL", "x", details={"n": 1}),
        AgentError("INTERNAL", "x", details={str(n): "" for n in range(33)}),
    ],
)
def test_anything_else_says_only_that_the_agent_failed(error: BaseException) -> None:
    """No internal text reaches a client, and no unsound AgentError breaks the run's end."""
    assert failure_of(error) is AGENT_FAILED


def test_a_run_that_wrote_too_much_says_so() -> None:
    """That is no secret, and no bug."""
    assert failure_of(RunTooLargeError()) is TOO_LARGE
