"""From a request to start a run to its record, its deadline and its refusals."""

from __future__ import annotations

import time

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context

from agent_core.agents import RunRequest, Turn
from agent_core.agents.inputs import Question
from agent_core.errors import (
    CoreFullError,
    CoreLogAwayError,
    PrincipalFullError,
    RequestIdReusedError,
    SessionHasRunError,
)
from agent_core.log.errors import LogFullError, PrincipalLogFullError, SessionBusyError
from agent_core.log.records import Exchange, RunRecord
from agent_core.runs.start_request import (
    ALPHABET,
    RANDOM_BITS,
    TAG_BITS,
    Deadlines,
    StartRequest,
    deadlines_of,
    make_run_id,
    make_tag,
    record_of,
    refusals,
    same_request,
)
from agent_core.runs.writer import LogRefusedError
from tests.support.agents import echo
from tokenwire.cursor import is_run_id, tag_of
from tokenwire.v1.run_pb2 import (
    HISTORY_ROLE_ASSISTANT,
    HISTORY_ROLE_USER,
    ON_DISCONNECT_CONTINUE,
    ON_DISCONNECT_GRACE,
    History,
    HistoryMessage,
    RunSpec,
)


class Nobody:
    """Asks nobody."""

    async def ask(self, question: Question) -> object:
        raise NotImplementedError

    def ask_blocking(self, question: Question) -> object:
        raise NotImplementedError

    def deadline(self) -> float:
        return time.monotonic() + 60


NOBODY = Nobody()


@given(st.integers(0, 2**TAG_BITS - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_an_id_is_a_tag_and_random_bits(tag_bits: int, bits: int) -> None:
    """30 characters, and every bit of both is in them."""
    tag = make_tag(tag_bits)
    run_id = make_run_id(tag, bits)
    assert is_run_id(run_id)
    assert tag_of(run_id) == tag
    value = 0
    for character in run_id:
        value = value << 5 | ALPHABET.index(character)
    assert value == tag_bits << RANDOM_BITS | bits


def record(spec: RunSpec, run_id: str = "r1", owner: str = "ann") -> RunRecord:
    return record_of(spec, run_id, "echo", owner, ON_DISCONNECT_GRACE, "")


def test_a_record_has_what_the_spec_leaves_open_from_its_call() -> None:
    """What the spec says itself goes first."""
    assert record(RunSpec()).on_disconnect == ON_DISCONNECT_GRACE
    assert record(RunSpec(on_disconnect=ON_DISCONNECT_CONTINUE)).on_disconnect == ON_DISCONNECT_CONTINUE


def test_a_request_without_an_id_can_not_be_repeated() -> None:
    """It has no key; one with an id has a key of its owner's own."""
    without, of_ann = record(RunSpec()), record(RunSpec(request_id="q"))
    assert (without.request_key, without.fingerprint) == ("", b"")
    assert of_ann.request_key
    assert of_ann.request_key != record(RunSpec(request_id="q"), owner="ben").request_key


def test_only_the_same_request_gets_the_run_that_stands_for_its_id() -> None:
    """Another one with its id is refused, with the run's."""
    first = record(RunSpec(request_id="q", message="hi"), "r1")
    assert same_request(first, record(RunSpec(request_id="q", message="hi"), "r2")) == "r1"
    with pytest.raises(RequestIdReusedError) as caught:
        same_request(first, record(RunSpec(request_id="q", message="ho"), "r2"))
    assert caught.value.metadata == {"run_id": "r1"}


@pytest.mark.parametrize(
    ("timeout_s", "call_s", "soonest_s"),
    [(None, None, 60), (5, None, 5), (90, None, 60), (5, 2, 2), (None, 90, 60)],
)
def test_the_soonest_of_three_deadlines_holds(
    timeout_s: int | None, call_s: int | None, soonest_s: int
) -> None:
    """The core's, the run's own, and that of its call."""
    spec = RunSpec(timeout=None if timeout_s is None else Duration(seconds=timeout_s))
    now = time.monotonic()
    deadlines = deadlines_of(spec, None if call_s is None else now + call_s, 60)
    assert now + soonest_s <= deadlines.soonest <= time.monotonic() + soonest_s
    assert deadlines.call == (None if call_s is None else now + call_s)


@pytest.mark.parametrize(
    ("raised", "refusal"),
    [
        (PrincipalLogFullError(), PrincipalFullError),
        (LogFullError(), CoreFullError),
        (SessionBusyError("r1"), SessionHasRunError),
        (LogRefusedError("r1", "it is away"), CoreLogAwayError),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
)
def test_the_logs_errors_become_refusals(raised: Exception, refusal: type[Exception]) -> None:
    """A bug stays one."""
    with pytest.raises(refusal), refusals():
        raise raised


async def test_an_agent_is_asked_what_the_caller_wants() -> None:
    """With the session's exchanges as turns, oldest first."""
    spec = RunSpec(message="and now?", session_id="s", user_id="u", attributes={"k": "v"})

    async def gate() -> None:
        return None

    request = StartRequest(record(spec), spec, echo, Deadlines(7.0), Context())
    assert request.run_request([Exchange("hi", "hello")], gate, NOBODY) == RunRequest(
        message="and now?",
        run_id="r1",
        session_id="s",
        user_id="u",
        history=[Turn("user", "hi"), Turn("assistant", "hello")],
        deadline=7.0,
        attributes={"k": "v"},
        gate=gate,
    )


async def test_an_agent_knows_what_is_left_of_its_time() -> None:
    """Also after it has waited for a person: the core says so."""
    request = StartRequest(record(RunSpec()), RunSpec(), echo, Deadlines(7.0), Context())

    async def gate() -> None:
        return None

    left_s = request.run_request([], gate, NOBODY).remaining_s()
    assert left_s is not None
    assert 0 < left_s <= 60


async def test_a_history_that_the_caller_sends_goes_before_the_sessions() -> None:
    """Also an empty one: it says that the conversation begins."""

    async def gate() -> None:
        return None

    sent = History(
        messages=[
            HistoryMessage(role=HISTORY_ROLE_USER, content="q"),
            HistoryMessage(role=HISTORY_ROLE_ASSISTANT, content="a"),
        ]
    )
    for history, turns in ((sent, [Turn("user", "q"), Turn("assistant", "a")]), (History(), [])):
        spec = RunSpec(history=history)
        request = StartRequest(record(spec), spec, echo, Deadlines(7.0), Context())
        assert request.run_request([Exchange("hi", "hello")], gate, NOBODY).history == turns
