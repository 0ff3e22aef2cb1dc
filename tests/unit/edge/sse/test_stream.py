"""One response's stream state."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError, StreamBrokenError
from edge.sse.dialects import NativeDialect
from edge.sse.stamps import EdgeClock, StreamStamps
from edge.sse.stream import StreamState, opening
from tokenwire.cursor import Cursor
from tokenwire.latency.series import TokenSeries
from tokenwire.v1 import agent_service_pb2, event_pb2, run_pb2, stream_pb2

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


def text(sequence: int, content: str = "x", epoch: int = 1) -> event_pb2.Event:
    return event_pb2.Event(sequence=sequence, epoch=epoch, text_delta=event_pb2.TextDelta(content=content))


def done(sequence: int) -> event_pb2.Event:
    return event_pb2.Event(sequence=sequence, epoch=1, done=event_pb2.Done(final_message="all"))


def response(*events: event_pb2.Event) -> bytes:
    return agent_service_pb2.StreamRunResponse(run_id=RUN_ID, events=events).SerializeToString()


def control(**member: Any) -> bytes:
    message = agent_service_pb2.FollowRunResponse(run_id=RUN_ID, control=stream_pb2.Control(**member))
    return message.SerializeToString()


def new_state(after: int = 0, *, merge: bool = True, budget_bytes: int = 1 << 20) -> StreamState:
    return StreamState(NativeDialect, after=Cursor(1, after), budget_bytes=budget_bytes, merge=merge)


def frames(state: StreamState) -> list[dict[str, Any]]:
    """Return what waits, as {name or None, id or None, data}."""
    out = bytearray()
    state.take(out)
    blocks = [block.split("\n") for block in out.decode().split("\n\n") if block]
    fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [{"event": f.get("event"), "id": f.get("id"), "data": json.loads(f["data"])} for f in fields]


def test_events_leave_in_order_with_their_ids() -> None:
    """What was fed is what is taken, once."""
    state = new_state(merge=False)
    state.feed(response(text(1, "a"), text(2, "b")))
    assert state.waiting
    assert [(frame["id"], frame["data"]["content"]) for frame in frames(state)] == [
        (f"{RUN_ID}.1.1", "a"),
        (f"{RUN_ID}.1.2", "b"),
    ]
    assert not state.waiting
    assert frames(state) == []
    assert state.last == Cursor(1, 2)


def test_an_event_without_an_epoch_is_of_the_first() -> None:
    """Absent reads as 1, as in the contract."""
    state = new_state()
    state.feed(response(text(1, epoch=0)))
    assert frames(state)[0]["id"] == f"{RUN_ID}.1.1"


def test_what_the_client_has_is_not_sent_again() -> None:
    """A core that replays too much makes no duplicate."""
    state = new_state(after=2)
    state.feed(response(text(1), text(2), text(3)))
    assert [frame["id"] for frame in frames(state)] == [f"{RUN_ID}.1.3"]


def test_a_skipped_event_breaks_the_stream() -> None:
    """A gap is an error that can be mended from `last`, never a silence."""
    state = new_state()
    state.feed(response(text(1)))
    with pytest.raises(StreamBrokenError) as caught:
        state.feed(response(text(3)))
    assert caught.value.details == {"reason": "SEQUENCE_GAP", "after": "1", "got": "3"}
    assert state.last == Cursor(1, 1)


def test_nothing_follows_the_terminal_event() -> None:
    """One end, whatever a core sends behind it, and whatever fails afterwards."""
    state = new_state()
    state.feed(response(done(1), text(2)))
    state.feed(control(caught_up=stream_pb2.CaughtUp()))
    state.fail(EdgeError("UNAVAILABLE"), timestamp=1.0)
    state.reconnect(5)
    assert [frame["data"].get("type") for frame in frames(state)] == ["done"]
    assert state.terminal is not None


def test_a_failure_of_the_edge_ends_the_stream_without_an_id() -> None:
    """The client is told, and its cursor stays where the log can serve it."""
    state = new_state()
    state.feed(response(text(1)))
    state.fail(EdgeError("UNAVAILABLE", "Gone.", details={"reason": "X"}), timestamp=9.0, trace_id="ab")
    last = frames(state)[-1]
    assert last["id"] is None
    assert last["data"] == {
        "type": "error",
        "timestamp": 9.0,
        "code": "UNAVAILABLE",
        "message": "Gone.",
        "retryable": True,
        "details": {"reason": "X"},
        "traceId": "ab",
    }


def test_a_stream_that_never_began_can_fail() -> None:
    """Before the first response there is no run id, and none is needed."""
    state = new_state()
    state.fail(EdgeError("UNAVAILABLE"), timestamp=1.0)
    assert [frame["data"]["code"] for frame in frames(state)] == ["UNAVAILABLE"]


def test_a_going_edge_says_when_to_come_back() -> None:
    """After what still waits, and without an id."""
    state = new_state()
    state.feed(response(text(1)))
    state.reconnect(1500)
    assert [(frame["event"], frame["id"], frame["data"]) for frame in frames(state)][-1] == (
        "reconnect",
        None,
        {"retryMs": 1500},
    )


def test_a_resync_moves_the_cursor_and_is_said() -> None:
    """After it the stream goes on at the log's first event: no gap is taken for an error."""
    state = new_state(after=1)
    first, last = run_pb2.Cursor(epoch=1, sequence=5), run_pb2.Cursor(epoch=1, sequence=6)
    state.feed(control(resync=stream_pb2.Resync(first=first, last=last, reason="trimmed")))
    state.feed(response(text(5)))
    assert [(frame["event"], frame["id"]) for frame in frames(state)] == [
        ("resync", None),
        (None, f"{RUN_ID}.1.5"),
    ]


def test_controls_that_are_not_the_browsers_are_dropped() -> None:
    """A draining core and an unknown control leave no trace."""
    state = new_state()
    state.feed(control(draining=stream_pb2.Draining(retry_ms=1)))
    state.feed(control())
    assert not state.waiting


def test_a_control_stands_between_the_deltas_around_it() -> None:
    """Deltas are merged only with their neighbours: order never changes."""
    state = new_state()
    state.feed(response(text(1), text(2)))
    state.feed(control(caught_up=stream_pb2.CaughtUp(cursor=run_pb2.Cursor(epoch=1, sequence=2))))
    state.feed(response(text(3), done(4)))
    assert [(frame["event"], frame["data"].get("from")) for frame in frames(state)] == [
        (None, 1),
        ("caught_up", None),
        (None, None),
        (None, None),
    ]


def test_an_unknown_payload_is_counted_and_passed_over() -> None:
    """The sequence goes on over it."""
    state = new_state()
    state.feed(response(text(1), event_pb2.Event(sequence=2, epoch=1), text(3)))
    assert state.unknown == 1
    assert state.last == Cursor(1, 3)


def test_a_full_state_says_so_until_it_is_taken() -> None:
    """The rim stops reading from the core: memory for one client is bounded."""
    state = new_state(budget_bytes=100)
    state.feed(response(text(1, "x" * 200)))
    assert state.full
    frames(state)
    assert not state.full


def test_the_run_is_named_once() -> None:
    """A follow knows its run before the first response; the response does not rename it."""
    state = new_state()
    state.name_run(RUN_ID)
    state.name_run("other")
    assert state.run_id == RUN_ID


def test_the_opening_has_the_reconnection_time() -> None:
    """No blank line: it is no message."""
    assert opening(12) == b"retry: 12\n: open\n"


@given(
    st.lists(st.tuples(st.sampled_from("trd"), st.text(max_size=4)), max_size=30),
    st.lists(st.integers(1, 5), max_size=30),
    st.booleans(),
)
def test_merging_changes_no_text_and_no_order(
    pieces: list[tuple[str, str]],
    takes: list[int],
    merge: bool,
) -> None:
    """However the writes fall, the joined text of each kind and the order of kinds are the same."""
    state = new_state(merge=merge)
    seen: list[dict[str, Any]] = []
    rest = list(takes)
    for number, (kind, content) in enumerate(pieces, 1):
        event = event_pb2.Event(sequence=number, epoch=1)
        if kind == "t":
            event.text_delta.content = content
        elif kind == "r":
            event.reasoning_delta.content = content
        else:
            event.custom.name = content
        state.feed(response(event))
        if rest and number % rest[0] == 0:
            rest.pop(0)
            seen += frames(state)
    seen += frames(state)
    assert _runs_of_text(
        [(f["data"]["type"][0], f["data"].get("content", f["data"].get("name"))) for f in seen]
    ) == (_runs_of_text([({"d": "c"}.get(kind, kind), content) for kind, content in pieces]))
    assert sum(frame["data"].get("tokens", 1) for frame in seen) == len(pieces)
    ids = [int(frame["id"].rsplit(".", 1)[1]) for frame in seen]
    assert ids == sorted(set(ids))
    assert not pieces or ids[-1] == len(pieces)


def _runs_of_text(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pieces with neighbouring deltas of one kind joined."""
    runs: list[tuple[str, str]] = []
    for kind, content in pieces:
        if runs and runs[-1][0] == kind and kind in "tr":
            runs[-1] = (kind, runs[-1][1] + content)
        else:
            runs.append((kind, content))
    return runs


def caught_up(sequence: int) -> bytes:
    return control(caught_up=stream_pb2.CaughtUp(cursor=run_pb2.Cursor(epoch=1, sequence=sequence)))


def test_a_client_catches_up_once() -> None:
    """A stream that goes on at another core tells it again there: the client never fell behind."""
    state = new_state(after=1)
    for sequence in (1, 4):
        state.feed(caught_up(sequence))
    assert [frame["event"] for frame in frames(state)] == ["caught_up"]


def test_one_who_reads_a_run_from_its_start_has_nothing_to_catch_up_with() -> None:
    """What a second core says of it is not the client's affair."""
    state = StreamState(NativeDialect, budget_bytes=1 << 20, live=True)
    state.feed(response(text(1)))
    state.feed(caught_up(1))
    assert [frame["id"] for frame in frames(state)] == [f"{RUN_ID}.1.1"]


def test_that_a_core_goes_down_is_for_the_edge_alone() -> None:
    """The client sees nothing of it."""
    state = new_state()
    assert not state.core_draining
    state.feed(control(draining=stream_pb2.Draining(retry_ms=5)))
    assert state.core_draining
    assert not state.waiting


def test_that_the_log_is_away_is_passed_on() -> None:
    """The client is to know why nothing comes."""
    state = new_state()
    state.feed(control(degraded=stream_pb2.Degraded(message="later")))
    assert [(frame["event"], frame["data"]) for frame in frames(state)] == [
        ("degraded", {"message": "later"})
    ]


@pytest.mark.parametrize("useless", ["unknown", "known", "control"])
def test_what_makes_no_frame_does_not_fill_the_budget(useless: str) -> None:
    """Nobody takes it, so nobody would make room: the stream would stand still for ever."""
    state = new_state(after=1, budget_bytes=100)
    for sequence in range(2, 12):
        match useless:
            case "unknown":
                newer = event_pb2.Event(sequence=sequence, epoch=1)
                state.feed(response(newer) + bytes([0b1111_1010, 0b0000_0001, 60]) + b"x" * 60)
            case "known":
                state.feed(response(text(1, "x" * 60)))
            case _:
                state.feed(control(draining=stream_pb2.Draining(retry_ms=sequence)))
    assert not state.full
    state.feed(response(text(state.last.sequence + 1, "x" * 200)))
    assert state.full


def test_stamps_are_read_of_what_is_fed_and_noted_when_it_is_taken() -> None:
    """By whoever follows the tokens; a stream without goes on the same way."""
    series = TokenSeries(stall_nano=10**9)
    clock = EdgeClock(id=1, tag=1, wall_offset_nano=0)
    stamps = StreamStamps(series, clock, began_nano=0)
    state = StreamState(NativeDialect, budget_bytes=1 << 20, live=True, stamps=stamps)
    state.feed(response(text(1), text(2)), 7)
    assert series.waiting == 2
    state.take(bytearray())
    series.written(9)
    assert (series.waiting, series.last_sequence) == (0, 2)
