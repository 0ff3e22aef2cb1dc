"""The log line of a failed run: what its `Error` leaves out."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from agent_core.runs.failures import AGENT_FAILED, Failure, RubbishError, hides_a_bug

logger = logging.getLogger(__name__)


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
