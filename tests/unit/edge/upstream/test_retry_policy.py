"""How long a broken stream is followed again."""

from __future__ import annotations

import pytest

from edge.errors import EdgeError
from edge.upstream.retry_policy import MOST_WAIT_S, WITHOUT_CORE_S, RetryPolicy, passes

BROKEN = EdgeError("UNAVAILABLE")
AWAY = EdgeError("UNAVAILABLE", details={"reason": "LOG_AWAY"})


def policy() -> RetryPolicy:
    return RetryPolicy(chance=lambda: 0.5)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_what_may_pass_is_tried_again(code: str) -> None:
    """Whoever says it: the transport or a core."""
    assert passes(EdgeError(code))
    assert passes(EdgeError(code, details={"reason": "X"}))


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN"])
def test_a_transport_that_breaks_is_no_core_that_refuses(code: str) -> None:
    """The same code with a core's reason is final."""
    assert passes(EdgeError(code))
    assert not passes(EdgeError(code, details={"reason": "X"}))


@pytest.mark.parametrize("code", ["NOT_FOUND", "DATA_LOSS", "PERMISSION_DENIED", "INVALID_ARGUMENT"])
def test_a_refusal_is_final(code: str) -> None:
    """But a run may come back to a wiped store, and an event that was lost on the way is asked for."""
    assert not passes(EdgeError(code))
    assert passes(EdgeError("NOT_FOUND", details={"reason": "RUN_UNKNOWN"}))
    assert passes(EdgeError("DATA_LOSS", details={"reason": "SEQUENCE_GAP"}))
    with pytest.raises(EdgeError):
        policy().after(EdgeError(code), 0.0, is_further=True)


def test_the_first_time_nobody_waits_and_then_ever_longer() -> None:
    """To a limit: a core that is back is found within a moment."""
    waiting = policy()
    waits = [waiting.after(BROKEN, number / 10, is_further=True) for number in range(9)]
    assert waits == [0.0, 0.05, 0.1, 0.2, 0.4, *[MOST_WAIT_S] * 4]


def test_a_stream_without_any_core_is_given_up_in_time() -> None:
    """It is counted from the first failure since a core served it."""
    waiting = policy()
    waiting.after(BROKEN, 0.0, is_further=True)
    waiting.after(BROKEN, WITHOUT_CORE_S - 0.1, is_further=True)
    waiting.heard()
    waiting.after(BROKEN, WITHOUT_CORE_S, is_further=True)
    waiting.after(BROKEN, 2 * WITHOUT_CORE_S - 0.1, is_further=True)
    with pytest.raises(EdgeError) as given_up:
        waiting.after(BROKEN, 2 * WITHOUT_CORE_S, is_further=True)
    assert given_up.value is BROKEN


def test_while_only_the_log_is_away_nobody_gives_up() -> None:
    """A core is there, and the run goes on."""
    waiting = policy()
    for second in range(60):
        assert waiting.after(AWAY, second, is_further=True) <= MOST_WAIT_S
    waiting.after(BROKEN, 60.0, is_further=True)


def test_a_stream_that_breaks_again_and_again_does_not_spin() -> None:
    """Though a core serves it in between; a failure after a calm while counts as the first."""
    waiting = policy()
    assert waiting.after(BROKEN, 0.0, is_further=True) == 0.0
    waiting.heard()
    assert waiting.after(BROKEN, 0.1, is_further=True) > 0.0
    waiting.heard()
    assert waiting.after(BROKEN, 1.2, is_further=True) == 0.0


@pytest.mark.parametrize("reason", ["SEQUENCE_GAP", "STREAM_ENDED_EARLY", "CORE_FAILED"])
def test_a_stream_that_gets_no_further_is_given_up_though_a_core_serves_it(reason: str) -> None:
    """What comes is of no use: the same again, or nothing but an end."""
    useless = EdgeError(
        "DATA_LOSS" if reason == "SEQUENCE_GAP" else "UNAVAILABLE", details={"reason": reason}
    )
    waiting = policy()
    waiting.heard()
    waiting.after(useless, -1.0, is_further=True)
    for second in range(int(WITHOUT_CORE_S)):
        waiting.heard()
        waiting.after(useless, float(second), is_further=not second)
    waiting.heard()
    with pytest.raises(EdgeError) as given_up:
        waiting.after(useless, WITHOUT_CORE_S, is_further=False)
    assert given_up.value is useless


@pytest.mark.parametrize("reason", ["", "LINK_SILENT", "CORE_NOT_ANSWERING"])
def test_a_silent_run_whose_connection_breaks_again_and_again_is_followed_on(reason: str) -> None:
    """A core serves it each time, and there is nothing new to tell."""
    broken = EdgeError("UNAVAILABLE", details={"reason": reason} if reason else None)
    waiting = policy()
    for second in range(60):
        waiting.heard()
        waiting.after(broken, float(second), is_further=False)
