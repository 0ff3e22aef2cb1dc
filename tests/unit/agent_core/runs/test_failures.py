"""What a run's Error says, and what it never says."""

import logging

import pytest

from agent_core.agents import AgentError
from agent_core.runs.failures import (
    AGENT_FAILED,
    TOO_LARGE,
    Failure,
    RubbishError,
    RunTooLargeError,
    failure_of,
    hides_a_bug,
    log_failure,
)


def test_an_agent_error_speaks_for_itself() -> None:
    """Its message is meant for the user."""
    error = AgentError("UNAVAILABLE", "Try later.", retryable=True, details={"provider": "x"})
    assert failure_of(error) == Failure("UNAVAILABLE", "Try later.", True, {"provider": "x"})


class HalfMadeError(AgentError):
    """One whose author has forgotten what it is made of."""

    def __init__(self) -> None:
        Exception.__init__(self, "secret")


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
        AgentError(["INTERNAL"], "x"),  # type: ignore[arg-type]
        HalfMadeError(),
    ],
)
def test_anything_else_says_only_that_the_agent_failed(error: BaseException) -> None:
    """No internal text reaches a client, and no unsound AgentError breaks the run's end."""
    assert failure_of(error) is AGENT_FAILED


def test_a_run_that_wrote_too_much_says_so() -> None:
    """That is no secret, and no bug."""
    assert failure_of(RunTooLargeError()) is TOO_LARGE


def test_an_agent_error_inside_a_group_keeps_its_words() -> None:
    """However deep a task group has put it, and whatever else was raised beside it: the first sound one."""
    bug, unsound = RuntimeError("secret"), AgentError("NO_SUCH_CODE", "x")
    first, second = AgentError("NOT_FOUND", "There is no such customer."), AgentError("ABORTED", "Later.")
    group = BaseExceptionGroup("outer", [bug, unsound, ExceptionGroup("inner", [first]), second])
    assert failure_of(group) == Failure("NOT_FOUND", "There is no such customer.")
    assert failure_of(ExceptionGroup("only bugs", [bug, unsound])) is AGENT_FAILED


def test_a_bug_beside_an_agent_error_is_not_hidden() -> None:
    """A group in which all speak to the user needs no traceback; one with a bug does."""
    error, bug = AgentError("ABORTED", "Later."), RuntimeError("secret")
    assert not hides_a_bug(None)
    assert not hides_a_bug(bug), "alone, it is what the run's Error is about"
    assert not hides_a_bug(ExceptionGroup("", [error, ExceptionGroup("", [error])]))
    assert hides_a_bug(ExceptionGroup("", [error, ExceptionGroup("", [bug])]))


LATER = Failure("ABORTED", "Later.")


@pytest.mark.parametrize(
    ("failure", "error", "stopped", "level", "text", "has_traceback"),
    [
        (AGENT_FAILED, RuntimeError("x"), False, logging.ERROR, "AGENT_FAILED (trace t1)", True),
        (
            AGENT_FAILED,
            RubbishError("a.py, 7"),
            False,
            logging.ERROR,
            "AGENT_FAILED: a.py, 7 (trace t1)",
            False,
        ),
        (TOO_LARGE, RunTooLargeError(), False, logging.INFO, "RUN_TOO_LARGE (trace t1)", False),
        (
            Failure("ABORTED", "Later."),
            ExceptionGroup("", [ValueError()]),
            False,
            logging.ERROR,
            "ABORTED (t",
            True,
        ),
        (
            Failure("ABORTED", "Later."),
            ExceptionGroup("", [ValueError()]),
            True,
            logging.INFO,
            "ABORTED (t",
            False,
        ),
    ],
    ids=["a bug", "a wrong event", "a limit", "a bug beside it", "raised while stopping"],
)
def test_the_log_line_of_a_failure_has_what_its_error_leaves_out(
    failure: Failure,
    error: Exception,
    stopped: bool,
    level: int,
    text: str,
    has_traceback: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reason and trace id; a bug's traceback, but for events that are found wrong in our own code."""
    caplog.set_level(logging.INFO)
    log_failure(failure, error, "r1", "t1", stopped=stopped, fields={"run_id": "r1"})
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (level, has_traceback)
    assert record.message.startswith(f"run r1 failed: {text}")


def test_the_log_line_of_a_run_without_a_trace_names_none(caplog: pytest.LogCaptureFixture) -> None:
    """Nor an exception where none was raised."""
    log_failure(AGENT_FAILED, None, "r1", "", stopped=False, fields={})
    assert [record.message for record in caplog.records] == ["run r1 failed: AGENT_FAILED"]
