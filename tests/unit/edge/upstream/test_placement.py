"""Which core is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.upstream.placement import (
    for_run,
    for_start,
    is_draining,
    is_lost_with_process,
    is_ready,
    is_shared,
    minted_here,
)
from tokenwire.v1 import agent_service_pb2 as pb

RUN = "aaaa" + "x" * 26


@dataclass(eq=False)
class Known:
    """What is known of a core."""

    target: str
    status: pb.Core | None = None
    answers: bool = True
    streams: int = 0


def core(target: str, incarnation: str = "zzzz", **known: Any) -> Known:
    status = pb.Core(
        incarnation=incarnation,
        log_scope=known.pop("scope", pb.LOG_SCOPE_SHARED),
        ready=known.pop("ready", True),
        draining=known.pop("draining", False),
    )
    return Known(target, status, **known)


def names(cores: list[Known]) -> str:
    return "".join(known.target for known in cores)


def test_of_two_cores_that_share_their_runs_the_less_busy_one_is_taken() -> None:
    """Chance picks two, load decides; the others come after it, the ones that are not ready last."""
    cores = [core("a", streams=9), core("b", streams=1), core("c", streams=0), core("d", ready=False)]
    assert names(for_start(cores, "s", choose=lambda _: 0)) == "bacd"
    assert names(for_start(cores, "s", choose=lambda below: below - 1)) == "cabd"


@given(st.text(max_size=9), st.sampled_from([pb.LOG_SCOPE_CORE, pb.LOG_SCOPE_PROCESS]))
def test_a_session_stays_at_one_of_the_cores_that_share_nothing(session: str, scope: Any) -> None:
    """Whatever their load and order; without that one it goes to one other, and the rest stay put."""
    cores = [core(name, scope=scope, streams=ord(name)) for name in "abc"]
    order = names(for_start(cores, session))
    assert names(for_start(cores[::-1], session)) == order
    left = [known for known in cores if known.target != order[0]]
    assert names(for_start(left, session)) == order[1:]


def test_sessions_are_spread_over_cores_that_share_nothing() -> None:
    """No core gets all of them."""
    cores = [core(name, scope=pb.LOG_SCOPE_PROCESS) for name in "abc"]
    assert {names(for_start(cores, str(number)))[0] for number in range(100)} == {"a", "b", "c"}


def test_cores_that_do_not_answer_are_asked_last() -> None:
    """Those that have never told anything before those that are known not to be ready."""
    cores = [core("a", ready=False), core("b", answers=False), Known("c"), core("d")]
    assert names(for_start(cores, "s")) == "dcab"
    assert names(for_start([Known("a", answers=False)], "s")) == "a"


def test_a_run_is_asked_for_where_it_was_minted() -> None:
    """Then where runs are shared, the less busy first; a core that does not answer comes last."""
    own = core("a", RUN[:4], scope=pb.LOG_SCOPE_PROCESS)
    cores = [
        core("b", scope=pb.LOG_SCOPE_PROCESS),
        core("c", streams=2),
        core("d", streams=1),
        core("e", RUN[:4], answers=False),
        own,
        Known("f", answers=False),
    ]
    assert names(for_run(cores, RUN)) == "adcbef"


def test_cores_that_go_down_are_asked_after_those_that_share_their_runs() -> None:
    """They would only say so; but one that shares nothing is the only one that has the run."""
    cores = [core("a", RUN[:4], draining=True), core("b", draining=True), core("c", streams=30)]
    assert names(for_run(cores, RUN)) == "cab"
    alone = core("d", RUN[:4], draining=True, scope=pb.LOG_SCOPE_CORE)
    assert names(for_run([core("c"), alone], RUN)) == "dc"


def test_what_is_not_known_is_not_assumed() -> None:
    """A core that has told nothing is neither ready, nor shared, nor lost with its process."""
    unknown = Known("a")
    assert not is_ready(unknown)
    assert not is_draining(unknown)
    assert not is_shared(unknown)
    assert not is_lost_with_process(unknown)
    assert not minted_here(unknown, RUN)
    assert is_lost_with_process(core("a", scope=pb.LOG_SCOPE_PROCESS))
    assert not is_ready(core("a", answers=False))
