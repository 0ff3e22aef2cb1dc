"""How many runs, starts and follows there may be."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent_core.errors import LimitReachedError
from agent_core.runs.limits import CoreLimits, Limiter

PRINCIPALS = ["ann", "ben", "eve"]


def limits_of(runs: int, own_runs: int, own_starts: int, follows: int, own_follows: int) -> CoreLimits:
    return CoreLimits(
        max_runs=runs,
        max_principal_runs=own_runs,
        max_principal_starts_per_minute=own_starts,
        max_follows=follows,
        max_principal_follows=own_follows,
    )


def refused(limiter: Limiter, principal: str = "ann", now_s: float = 0.0) -> LimitReachedError:
    with pytest.raises(LimitReachedError) as caught:
        limiter.start_run(principal, now_s)
    return caught.value


def test_each_limit_is_refused_by_its_own_name() -> None:
    """A program can tell which one it was, and how much it allows."""
    limits = limits_of(2, 1, 3, 2, 1)
    limiter = Limiter(limits, principals=True)
    limiter.start_run("ann", 0)
    error = refused(limiter)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "PRINCIPAL_RUNS_LIMIT")
    assert error.metadata == {"limit": "max_principal_runs", "most": "1"}
    limiter.start_run("ben", 0)
    assert refused(limiter, "eve").reason == "RUNS_LIMIT"
    with limiter.follow("ann"):
        with pytest.raises(LimitReachedError) as caught, limiter.follow("ann"):
            pass
        assert caught.value.reason == "PRINCIPAL_FOLLOWS_LIMIT"
        with limiter.follow("ben"), pytest.raises(LimitReachedError) as caught, limiter.follow("eve"):
            pass
        assert caught.value.reason == "FOLLOWS_LIMIT"


def test_a_refused_start_says_when_the_next_one_is_let_in() -> None:
    """Not a moment earlier, and then for certain."""
    limiter = Limiter(CoreLimits(max_principal_starts_per_minute=6), principals=True)
    for _ in range(6):
        limiter.start_run("ann", 100.0)
    error = refused(limiter, now_s=103.0)
    assert error.reason == "START_RATE_LIMIT"
    assert error.retry_after_s == pytest.approx(7.0)
    assert refused(limiter, now_s=109.9).reason == "START_RATE_LIMIT"
    limiter.start_run("ann", 110.0)
    limiter.start_run("ben", 110.0)


def test_a_refused_start_takes_nothing() -> None:
    """Neither a run's place nor a start: whoever asks too often does not keep himself out."""
    limiter = Limiter(CoreLimits(max_principal_starts_per_minute=1), principals=True)
    limiter.start_run("ann", 0)
    for _ in range(5):
        refused(limiter, now_s=30.0)
    assert limiter.runs.in_use == 1
    limiter.start_run("ann", 60.0)


def test_a_repeated_request_gives_its_start_back() -> None:
    """It has started nothing."""
    limiter = Limiter(CoreLimits(max_principal_starts_per_minute=1), principals=True)
    limiter.start_run("ann", 0)
    limiter.end_run("ann", repeated=True)
    limiter.start_run("ann", 0)
    limiter.end_run("ann", repeated=False)
    assert refused(limiter).reason == "START_RATE_LIMIT"


def test_where_nobody_proves_who_he_is_only_the_limits_for_all_hold() -> None:
    """All callers are one principal then."""
    limiter = Limiter(limits_of(3, 1, 1, 2, 1))
    for _ in range(3):
        limiter.start_run("anonymous", 0)
    assert refused(limiter, "anonymous").reason == "RUNS_LIMIT"
    with limiter.follow("anonymous"), limiter.follow("anonymous"):
        pass


def test_nought_is_no_limit() -> None:
    """For each of them."""
    limiter = Limiter(limits_of(0, 0, 0, 0, 0), principals=True)
    with ExitStack() as stack:
        for _ in range(1000):
            limiter.start_run("ann", 0)
            stack.enter_context(limiter.follow("ann"))
        assert limiter.runs.in_use == limiter.follows.in_use == 1000


class Limits(RuleBasedStateMachine):
    """Any order of starts, ends, follows and pauses."""

    LIMITS = limits_of(4, 2, 5, 4, 2)

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter(self.LIMITS, principals=True)
        self.now_s = 1000.0
        self.runs: list[str] = []
        self.follows: list[tuple[str, object]] = []
        self.started: list[tuple[str, float]] = []

    @rule(principal=st.sampled_from(PRINCIPALS))
    def start(self, principal: str) -> None:
        limits = self.LIMITS
        room = len(self.runs) < limits.max_runs and self.runs.count(principal) < limits.max_principal_runs
        refusal: LimitReachedError | None = None
        try:
            self.limiter.start_run(principal, self.now_s)
        except LimitReachedError as error:
            refusal = error
        if refusal is None:
            assert room
            self.runs.append(principal)
            self.started.append((principal, self.now_s))
        else:
            assert refusal.retry_after_s
            assert (refusal.reason == "START_RATE_LIMIT") == room

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), repeated=st.booleans())
    def end(self, data: st.DataObject, repeated: bool) -> None:
        principal = self.runs.pop(data.draw(st.integers(0, len(self.runs) - 1)))
        self.limiter.end_run(principal, repeated=repeated)
        if repeated:
            self.started.remove(next(start for start in reversed(self.started) if start[0] == principal))

    @rule(principal=st.sampled_from(PRINCIPALS))
    def follow(self, principal: str) -> None:
        block = self.limiter.follow(principal)
        mine = [name for name, _ in self.follows].count(principal)
        room = len(self.follows) < self.LIMITS.max_follows and mine < self.LIMITS.max_principal_follows
        try:
            block.__enter__()
        except LimitReachedError:
            assert not room
        else:
            assert room
            self.follows.append((principal, block))

    @precondition(lambda self: self.follows)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        _, block = self.follows.pop(data.draw(st.integers(0, len(self.follows) - 1)))
        block.__exit__(None, None, None)  # type: ignore[attr-defined]

    @rule(pause_s=st.floats(0, 100))
    def wait(self, pause_s: float) -> None:
        self.now_s += pause_s

    @invariant()
    def what_is_counted_is_what_there_is(self) -> None:
        assert self.limiter.runs.in_use == len(self.runs)
        assert [self.limiter.runs.held_by(name) for name in PRINCIPALS] == list(
            map(self.runs.count, PRINCIPALS)
        )
        assert self.limiter.follows.in_use == len(self.follows)

    @invariant()
    def nobody_starts_more_than_a_bucket_and_its_refill(self) -> None:
        """In any span of time that ends now."""
        for principal in PRINCIPALS:
            times = [at for name, at in self.started if name == principal]
            for index, begin in enumerate(times):
                most = self.LIMITS.max_principal_starts_per_minute * (1 + (self.now_s - begin) / 60)
                assert len(times) - index <= most + 1e-6


Limits.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLimits = Limits.TestCase
