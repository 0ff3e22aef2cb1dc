"""Run state: what an agent yields, as payloads of numbered events.

One module, since every branch of the state must be taken by it alone (`scripts/check_coverage.py`).
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents import (
    Custom,
    Finish,
    JsonText,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolResult,
    ToolStart,
    Usage,
)
from agent_core.agents.inputs import make_question
from agent_core.log.records import Outcome
from agent_core.runs.failures import TIMED_OUT, RubbishError, RunTooLargeError, ToolLimitError
from agent_core.runs.limits import RunLimits
from agent_core.runs.state import MAX_FINAL_BYTES, MAX_PIECE_LENGTH, RunState
from tokenwire.v1 import event_pb2
from tokenwire.v1.event_pb2 import Event

WALL_OFFSET = 1_763_841_600_000_000_000
RUN_ID = "k7q2" + "a" * 26
SELF_CONTAINING: list[object] = []
SELF_CONTAINING.append(SELF_CONTAINING)
DEFAULT_LIMITS = RunLimits()


def started(limits: RunLimits = DEFAULT_LIMITS) -> RunState:
    state = RunState(wall_offset_nano=WALL_OFFSET, limits=limits)
    state.start(event_pb2.RunStarted(run_id=RUN_ID, agent="a"), 1)
    return state


def events(payloads: list[bytes]) -> list[Event]:
    return [Event.FromString(payload) for payload in payloads]


def only(payloads: list[bytes]) -> Event:
    (event,) = events(payloads)
    return event


def test_the_first_event_is_run_started_with_its_times() -> None:
    """A payload has its time, its model stamp, room for the logged stamp, and no number yet."""
    state = RunState(wall_offset_nano=WALL_OFFSET, limits=DEFAULT_LIMITS)
    event = Event.FromString(state.start(event_pb2.RunStarted(run_id=RUN_ID, agent="pace"), 123_456_789))
    assert event.run_started == event_pb2.RunStarted(run_id=RUN_ID, agent="pace")
    assert (event.create_time.seconds, event.create_time.nanos) == (1_763_841_600, 123_456_789)
    assert (event.timing.model_nano, event.timing.logged_nano) == (123_456_789, 0)
    assert (event.sequence, event.epoch) == (0, 0)
    assert state.sequence == 1


def test_a_question_says_when_it_expires() -> None:
    """And the event that closes it how; both are numbered as any other."""
    state = started()
    choice = make_question("Which?", "choice", options=["red"], timeout_s=1.5)
    event = Event.FromString(state.request_input("1", choice, 2))
    asked = event.input_requested
    assert (asked.input_id, asked.kind, asked.prompt) == ("1", event_pb2.INPUT_KIND_CHOICE, "Which?")
    assert asked.schema_json == '{"enum":["red"]}'
    assert asked.expire_time.ToNanoseconds() == WALL_OFFSET + 2 + 1_500_000_000
    closed = Event.FromString(state.receive_input("1", event_pb2.INPUT_OUTCOME_DECLINED, 3))
    assert closed.input_received == event_pb2.InputReceived(
        input_id="1", outcome=event_pb2.INPUT_OUTCOME_DECLINED
    )
    assert state.sequence == 3


def test_a_question_counts_in_the_limits_and_what_closes_it_does_not() -> None:
    """A run that may say no more can still be told its answers."""
    state = started(RunLimits(max_run_events=2))
    state.request_input("1", make_question("Delete?"), 2)
    with pytest.raises(RunTooLargeError):
        state.request_input("2", make_question("Delete?"), 2)
    state.receive_input("1", event_pb2.INPUT_OUTCOME_EXPIRED, 3)
    assert state.sequence == 3


def test_every_kind_of_item_becomes_its_event() -> None:
    """The words of the agent protocol are the words of the contract."""
    state = started()
    assert only(state.feed("a", 2)).text_delta == event_pb2.TextDelta(content="a", token_count=1)
    assert only(state.feed(TextDelta("bc", 2), 2)).text_delta == event_pb2.TextDelta(
        content="bc", token_count=2
    )
    assert only(state.feed(ReasoningDelta("hm", 3), 2)).reasoning_delta == event_pb2.ReasoningDelta(
        content="hm", token_count=3
    )
    assert only(state.feed(Progress(12.5, "reading", "r"), 2)).progress == event_pb2.Progress(
        percent=12.5, message="reading", step="r"
    )
    assert only(state.feed(ToolStart("c1", "sql", {"q": [1, None]}), 2)).tool_start == event_pb2.ToolStart(
        call_id="c1", tool="sql", args_json='{"q":[1,null]}'
    )
    assert only(state.feed(ToolResult("c1", "sql", "no", is_error=True), 2)).tool_result == (
        event_pb2.ToolResult(call_id="c1", tool="sql", result_json='"no"', is_error=True)
    )
    assert only(state.feed(Custom("chart", 1), 2)).custom == event_pb2.Custom(name="chart", data_json="1")
    assert state.sequence == 8


def test_progress_without_percent_has_none() -> None:
    """Absent is not 0."""
    assert not only(started().feed(Progress(None, "thinking"), 2)).progress.HasField("percent")


@pytest.mark.parametrize("item", ["", TextDelta(""), ReasoningDelta(""), Finish()])
def test_what_is_not_to_be_told_takes_no_number(item: object) -> None:
    """Empty deltas are dropped, and Finish is told by Done."""
    state = started()
    assert state.feed(item, 2) == []
    assert state.sequence == 1


def test_json_text_is_passed_on_as_it_is() -> None:
    """No int64 is rounded and no number reformatted, at the top or inside."""
    text = JsonText('{"n": 12345678901234567890, "f": 1.0}')
    state = started()
    assert only(state.feed(Custom("c", text), 2)).custom.data_json == text
    assert only(state.feed(Custom("c", {"in": [text]}), 2)).custom.data_json == f'{{"in":[{text}]}}'


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.data())
def test_an_answer_survives_cuts_through_its_characters(text: str, data: st.DataObject) -> None:
    """Wherever an agent cuts its text in UTF-16, as some libraries count, the characters come whole."""
    units = text.encode("utf-16-le")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=6)))
    state = started()
    told: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(units) // 2], strict=True):
        piece = units[2 * begin : 2 * end].decode("utf-16-le", "surrogatepass")
        told += state.feed(piece, 2)
    told += state.flush(3)
    assert "".join(event.text_delta.content for event in events(told)) == text
    assert Event.FromString(state.finish(4)).done.final_message == text


def test_half_a_character_without_the_other_half_is_replaced() -> None:
    """Text and reasoning have halves of their own; a half waits for the next delta, at most until the end."""
    state = started()
    told = state.feed("a\ud83d", 2) + state.feed(ReasoningDelta("b\ud83d"), 2) + state.feed("\ude00", 2)
    assert state.feed(TextDelta("\ud83d"), 2) == []
    assert [event.text_delta.content for event in events(told + state.flush(3))] == [
        *("a", "", "\U0001f600", "", "\ufffd")
    ]
    assert [event.reasoning_delta.content for event in events(told)] == ["", "b", ""]
    assert state.flush(4) == []
    assert Event.FromString(state.finish(5)).done.final_message == "a\U0001f600\ufffd"
    with pytest.raises(RuntimeError):
        state.flush(6)


@pytest.mark.parametrize(
    "item",
    [
        42,
        None,
        b"bytes",
        event_pb2.TextDelta(content="not ours"),
        TextDelta(b"a"),
        TextDelta("a", -1),
        TextDelta("a", 2**32),
        TextDelta("a", True),
        TextDelta("a", 1.0),
        ReasoningDelta(None),
        Progress(-0.1, ""),
        Progress(100.1, ""),
        Progress(math.nan, ""),
        Progress(math.inf, ""),
        Progress(True, ""),
        Progress("50", ""),
        Progress(5, None),
        Progress(5, "", 7),
        ToolStart(1, "t"),
        ToolStart("c", None),
        ToolStart("c", "t", object()),
        ToolStart("c", "t", "\ud800"),
        ToolStart("c", "t", SELF_CONTAINING),
        ToolStart("c", "t", {"a": {1: object()}}),
        ToolStart("c", "t", JsonText('{"a":')),
        ToolStart("c", "t", JsonText("NaN")),
        ToolStart("c", "t", JsonText("1 2")),
        ToolStart("c", "t", JsonText("")),
        ToolStart("c", "t", {"in": JsonText("nope")}),
        ToolStart("c", "t", JsonText('"\ud800"')),
        ToolResult("c", "t", None, is_error=1),
        Custom("\ud800", 1),
        Custom("too large", "x" * 1_100_000),
        Finish("cancelled"),
        Finish(["stop"]),
        Finish("stop", {"input_tokens": 1}),
        Finish("stop", Usage(-1, 2)),
        Finish("stop", Usage(1, 2**64)),
        Finish("stop", Usage(1, 2.5)),
    ],
)
def test_rubbish_is_refused_and_takes_no_number(item: object) -> None:
    """What no event can hold is the agent's fault, and leaves no hole in the run."""
    state = started()
    with pytest.raises(RubbishError):
        state.feed(item, 2)
    assert state.sequence == 1
    assert Event.FromString(state.finish(3)).done.finish_reason == event_pb2.FINISH_REASON_STOP
    assert state.sequence == 2


def test_done_holds_the_joined_text_and_what_finish_told() -> None:
    """Reasoning is no part of the answer."""
    state = started()
    for item in ("Apples", ReasoningDelta("more?"), TextDelta(", pears"), Finish("length", Usage(7, None))):
        state.feed(item, 2)
    done = Event.FromString(state.finish(3)).done
    assert done.final_message == "Apples, pears"
    assert not done.final_message_omitted
    assert done.finish_reason == event_pb2.FINISH_REASON_LENGTH
    assert done.usage.input_tokens == 7
    assert not done.usage.HasField("output_tokens")
    assert state.outcome == Outcome("done", "length")


def test_done_of_a_silent_agent_is_empty() -> None:
    """An agent that yields nothing has said all it had to say, and told no usage."""
    state = started()
    event = Event.FromString(state.finish(3))
    assert event.WhichOneof("payload") == "done"
    assert event.done == event_pb2.Done(finish_reason=event_pb2.FINISH_REASON_STOP)


def test_usage_without_input_tokens_has_none() -> None:
    """A count that the provider did not give stays absent."""
    state = started()
    state.feed(Finish("tool_limit", Usage(None, 0)), 2)
    done = Event.FromString(state.finish(3)).done
    assert done.finish_reason == event_pb2.FINISH_REASON_TOOL_LIMIT
    assert not done.usage.HasField("input_tokens")
    assert done.usage.HasField("output_tokens")


def test_a_cancelled_run_keeps_its_text_and_usage() -> None:
    """Cancelled is a way to end, not a failure."""
    state = started()
    for item in ("Apples", Finish("stop", Usage(1, 2))):
        state.feed(item, 2)
    done = Event.FromString(state.cancel(3)).done
    assert (done.final_message, done.finish_reason) == ("Apples", event_pb2.FINISH_REASON_CANCELLED)
    assert done.usage.output_tokens == 2
    assert state.outcome == Outcome("done", "cancelled")


def test_a_failed_run_says_code_and_trace() -> None:
    """Error says what a user may know, and where the rest is."""
    state = started()
    error = Event.FromString(state.fail(TIMED_OUT, 3, trace_id="ab" * 16)).error
    assert (error.code, error.retryable, error.trace_id) == ("DEADLINE_EXCEEDED", True, "ab" * 16)
    assert error.message == TIMED_OUT.message
    assert dict(error.details) == {"reason": "RUN_TIMEOUT"}
    assert state.outcome == Outcome("error", "DEADLINE_EXCEEDED")


def test_the_longest_answer_that_done_repeats_is_256_kib_of_utf_8() -> None:
    """At the limit the text is repeated; one byte more and it is left out, and the flag says so."""
    state = started()
    pieces = MAX_FINAL_BYTES // 4_000
    for _ in range(pieces):
        state.feed("ä" * 2_000, 2)
    state.feed("x" * (MAX_FINAL_BYTES - pieces * 4_000), 2)
    state_over = started()
    for _ in range(pieces):
        state_over.feed("ä" * 2_000, 2)
    state_over.feed("x" * (MAX_FINAL_BYTES - pieces * 4_000 + 1), 2)
    state_over.feed("and more", 2)
    done = Event.FromString(state.finish(3)).done
    assert len(done.final_message.encode()) == MAX_FINAL_BYTES
    assert not done.final_message_omitted
    over = Event.FromString(state_over.finish(3)).done
    assert over.final_message == ""
    assert over.final_message_omitted


def test_a_delta_too_long_for_one_response_becomes_several() -> None:
    """Nothing is lost, every piece counts a token at least, and the counts add up."""
    text = "0123456789abcdef" * (MAX_PIECE_LENGTH // 8) + "end"
    state = started()
    parts = events(state.feed(TextDelta(text, 10), 2))
    assert "".join(part.text_delta.content for part in parts) == text
    assert [part.text_delta.token_count for part in parts] == [8, 1, 1]
    assert state.sequence == 4
    assert [part.reasoning_delta.token_count for part in events(state.feed(ReasoningDelta(text, 1), 2))] == [
        1,
        1,
        1,
    ]


def test_a_run_may_write_only_so_much() -> None:
    """What does not fit is refused whole, takes no number, and leaves the text so far and the end."""
    state = started(RunLimits(max_run_bytes=212))
    state.feed("x" * 50, 2)
    for item in ("y" * 500, "y" * 90, "\U0001f44d" * 30, ReasoningDelta("y" * 90)):
        with pytest.raises(RunTooLargeError):
            state.feed(item, 3)
    assert state.sequence == 2
    state.feed("z", 4)
    assert Event.FromString(state.cancel(5)).done.final_message == "x" * 50 + "z"


@pytest.mark.parametrize(
    "item",
    [
        ToolStart("c", "t", "y" * 500),
        ToolResult("c", "t", "y" * 500),
        Custom("c", "y" * 500),
        Progress(1, "y" * 500),
    ],
)
def test_no_kind_of_event_exceeds_what_a_run_may_write(item: object) -> None:
    """Nor does an event that is no text take what is left."""
    state = started(RunLimits(max_run_bytes=400))
    with pytest.raises(RunTooLargeError):
        state.feed(item, 2)
    assert state.sequence == 1


@given(st.integers(1, 3_000), st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=30))
def test_the_events_of_a_run_never_exceed_its_bytes(max_bytes: int, pieces: list[str]) -> None:
    """Whatever the agent yields: RunStarted and the end alone may stand above the limit."""
    state = RunState(wall_offset_nano=WALL_OFFSET, limits=RunLimits(max_run_bytes=max_bytes))
    written = len(state.start(event_pb2.RunStarted(run_id=RUN_ID, agent="a"), 1))
    for piece in pieces:
        try:
            payloads = state.feed(piece, 2)
        except RunTooLargeError:
            break
        written += sum(map(len, payloads))
        assert not payloads or written <= max_bytes
    assert state.finish(3)


def test_a_run_has_room_for_all_pieces_of_a_delta_or_for_none() -> None:
    """One that is cut into more events than are left is refused as a whole."""
    state = started(RunLimits(max_run_events=3))
    with pytest.raises(RunTooLargeError):
        state.feed("x" * (2 * MAX_PIECE_LENGTH + 1), 2)
    assert state.sequence == 1
    assert len(state.feed("x" * 2 * MAX_PIECE_LENGTH, 3)) == 2


def test_a_run_may_say_only_so_many_things() -> None:
    """What the agent says of its end is no event, and comes through."""
    state = started(RunLimits(max_run_events=2))
    state.feed("x", 2)
    with pytest.raises(RunTooLargeError):
        state.feed("y", 3)
    assert state.feed(Finish("length"), 4) == []
    assert Event.FromString(state.finish(5)).sequence == 0
    assert state.sequence == 3


def test_nothing_comes_before_the_first_or_after_the_last_event() -> None:
    """A caller that feeds a run before its start or after its end has a bug."""
    state = RunState(wall_offset_nano=0, limits=DEFAULT_LIMITS)
    with pytest.raises(RuntimeError):
        state.feed("early", 1)
    state.start(event_pb2.RunStarted(), 1)
    with pytest.raises(RuntimeError):
        state.start(event_pb2.RunStarted(), 2)
    state.cancel(2)
    for late in (
        lambda: state.feed("late", 3),
        lambda: state.finish(3),
        lambda: state.cancel(3),
        lambda: state.fail(TIMED_OUT, 3),
    ):
        with pytest.raises(RuntimeError):
            late()
    assert state.sequence == 2


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=40))
def test_the_deltas_are_the_answer(pieces: list[str]) -> None:
    """Joined in order, what was told is what Done repeats; empty pieces were not told."""
    state = started()
    told = [event for piece in pieces for event in events(state.feed(piece, 2))]
    assert all(event.text_delta.content for event in told)
    final = Event.FromString(state.finish(3)).done.final_message
    assert final == "".join(event.text_delta.content for event in told) == "".join(pieces)
    assert state.sequence == 1 + len(told) + 1


def test_a_run_has_so_many_tool_calls_and_its_text_stands() -> None:
    """The call beyond the limit is not told and takes no number; 0 is no limit."""
    state = started(RunLimits(max_run_tool_calls=1))
    state.feed("Well", 2)
    state.feed(ToolStart("1", "search", {}), 2)
    before = state.sequence
    with pytest.raises(ToolLimitError):
        state.feed(ToolStart("2", "search", {}), 2)
    assert state.sequence == before
    done = Event.FromString(state.meet_tool_limit(3)).done
    assert (done.final_message, done.finish_reason) == ("Well", event_pb2.FINISH_REASON_TOOL_LIMIT)
    assert state.outcome == Outcome("done", "tool_limit")
    unlimited = started(RunLimits(max_run_tool_calls=0))
    for number in range(300):
        unlimited.feed(ToolStart(str(number), "search", {}), 2)
