"""What one stream's client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError
from edge.sse.dialects import AiSdkDialect, NativeDialect
from edge.sse.stamps import EdgeClock, StreamStamps
from edge.sse.stream import StreamState
from tokenwire import events
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.latency.series import TokenSeries
from tokenwire.translate import translate
from tokenwire.v1 import event_pb2, run_pb2, stream_pb2

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
CLOCK = EdgeClock(id=2**40 + 1, tag=1, wall_offset_nano=0)


def text(content: str = "x", **more: Any) -> event_pb2.Event:
    return event_pb2.Event(text_delta=event_pb2.TextDelta(content=content), **more)


def done() -> event_pb2.Event:
    return event_pb2.Event(done=event_pb2.Done(final_message="all"))


class Told(StreamState):
    """A stream that is told events by number."""

    def __init__(self, **more: Any) -> None:
        super().__init__(NativeDialect(), **({"budget_bytes": 1 << 20} | more))
        self.begin(RUN_ID)
        self.told = 0

    def hear(self, *told: event_pb2.Event) -> None:
        for event in told:
            self.told += 1
            self.event(1, self.told, event)

    def frames(self) -> list[dict[str, Any]]:
        """Return what waits, as {name or None, id or None, data}."""
        out = bytearray()
        self.take(out)
        blocks = [block.split("\n") for block in out.decode().split("\n\n") if block]
        fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
        return [{"event": f.get("event"), "id": f.get("id"), "data": json.loads(f["data"])} for f in fields]


def stamps(*, show: bool = False) -> StreamStamps:
    return StreamStamps(TokenSeries(stall_nano=10**9), CLOCK, began_nano=0, show=show)


def test_events_leave_in_order_with_their_ids() -> None:
    """What was told is what is taken, once."""
    stream = Told(merge=False)
    stream.hear(text("a"), text("b"))
    assert stream.waiting
    assert [(frame["id"], frame["data"]["content"]) for frame in stream.frames()] == [
        (f"{RUN_ID}.1.1", "a"),
        (f"{RUN_ID}.1.2", "b"),
    ]
    assert not stream.waiting
    assert stream.frames() == []


def test_nothing_follows_the_terminal_event() -> None:
    """One end, whatever comes behind it, and whatever fails afterwards."""
    stream = Told()
    stream.hear(done(), text())
    stream.control(stream_pb2.Control(caught_up=stream_pb2.CaughtUp()))
    stream.fail(EdgeError("UNAVAILABLE"), timestamp=1.0)
    stream.reconnect(5)
    assert [frame["data"].get("type") for frame in stream.frames()] == ["done"]
    assert stream.terminal is not None


def test_what_ends_a_stream_is_the_dialects() -> None:
    """It is written behind the terminal event, and behind nothing else."""

    class Ends(NativeDialect):
        def write_end(self, out: bytearray) -> None:
            out += b"data: [DONE]\n\n"

    stream = StreamState(Ends(), budget_bytes=1 << 20)
    out = bytearray()
    stream.event(1, 1, text())
    stream.take(out)
    assert b"DONE" not in out
    stream.event(1, 2, done())
    stream.take(out)
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_failure_of_the_edge_ends_the_stream_without_an_id() -> None:
    """The client is told, and its cursor stays where the log can serve it."""
    stream = Told()
    stream.hear(text())
    stream.fail(EdgeError("UNAVAILABLE", "Gone.", details={"reason": "X"}), timestamp=9.0, trace_id="ab")
    last = stream.frames()[-1]
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
    """Without a run id, of which it needs none."""
    stream = StreamState(NativeDialect(), budget_bytes=1 << 20)
    stream.fail(EdgeError("UNAVAILABLE"), timestamp=1.0)
    out = bytearray()
    stream.take(out)
    assert b'"code":"UNAVAILABLE"' in out


def test_a_going_edge_says_when_to_come_back() -> None:
    """After what still waits, and without an id."""
    stream = Told()
    stream.hear(text())
    stream.reconnect(1500)
    assert [(frame["event"], frame["id"], frame["data"]) for frame in stream.frames()][-1] == (
        "reconnect",
        None,
        {"retryMs": 1500},
    )


def test_a_resync_is_said_and_counted() -> None:
    """Between what came before it and what comes after."""
    stream = Told()
    first, last = run_pb2.Cursor(epoch=1, sequence=5), run_pb2.Cursor(epoch=1, sequence=6)
    stream.control(stream_pb2.Control(resync=stream_pb2.Resync(first=first, last=last, reason="trimmed")))
    stream.event(1, 5, text())
    assert [(frame["event"], frame["id"]) for frame in stream.frames()] == [
        ("resync", None),
        (None, f"{RUN_ID}.1.5"),
    ]
    assert stream.resyncs == 1


def test_a_gap_ends_the_stream_of_a_client_without_cursors() -> None:
    """It could not be told that events are missing: what it showed would look whole."""
    stream = StreamState(AiSdkDialect(), budget_bytes=1 << 20)
    stream.control(stream_pb2.Control(resync=stream_pb2.Resync(reason="trimmed")))
    stream.event(1, 5, text("late"))
    out = bytearray()
    stream.take(out)
    assert b'"type":"error"' in out
    assert b"late" not in out
    assert out.endswith(b"data: [DONE]\n\n")
    assert isinstance(stream.terminal, events.Error)
    assert (stream.resyncs, stream.terminal.code) == (1, "DATA_LOSS")


def test_controls_that_are_not_the_browsers_are_dropped() -> None:
    """A draining core and an unknown control leave no trace."""
    stream = Told()
    stream.control(stream_pb2.Control(draining=stream_pb2.Draining(retry_ms=1)))
    stream.control(stream_pb2.Control())
    assert not stream.waiting


def test_that_the_log_is_away_is_passed_on() -> None:
    """The client is to know why nothing comes."""
    stream = Told()
    stream.control(stream_pb2.Control(degraded=stream_pb2.Degraded(message="later")))
    assert [(frame["event"], frame["data"]) for frame in stream.frames()] == [
        ("degraded", {"message": "later"})
    ]


def test_an_unknown_payload_is_counted_and_passed_over() -> None:
    """The sequence goes on over it."""
    stream = Told(merge=False)
    stream.hear(text(), event_pb2.Event(), text())
    assert stream.unknown == 1
    assert [frame["id"][-2:] for frame in stream.frames()] == [".1", ".3"]


@pytest.mark.parametrize("live", [True, False])
def test_a_client_catches_up_once_and_only_if_it_was_behind(live: bool) -> None:
    """A stream that goes on at another core tells it again there."""
    stream = Told(live=live)
    for sequence in (1, 4):
        cursor = run_pb2.Cursor(epoch=1, sequence=sequence)
        stream.control(stream_pb2.Control(caught_up=stream_pb2.CaughtUp(cursor=cursor)))
    assert [frame["event"] for frame in stream.frames()] == ([] if live else ["caught_up"])


def test_a_full_stream_says_so_until_it_is_taken() -> None:
    """By what has come for it, not by what is written."""
    stream = Told(budget_bytes=100)
    stream.arrived(SenderClock(0, 0, 0, 0), 1, 99)
    stream.hear(text())
    assert not stream.full
    stream.arrived(SenderClock(0, 0, 0, 0), 2, 1)
    assert stream.full
    stream.frames()
    assert not stream.full


def test_the_run_is_named_once() -> None:
    """A follow knows its run before it is told; being told does not rename it."""
    stream = Told()
    stream.begin("other")
    stream.hear(text())
    assert stream.frames()[0]["id"].startswith(RUN_ID)


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
    stream = Told(merge=merge)
    seen: list[dict[str, Any]] = []
    rest = list(takes)
    for number, (kind, content) in enumerate(pieces, 1):
        event = event_pb2.Event()
        if kind == "t":
            event.text_delta.content = content
        elif kind == "r":
            event.reasoning_delta.content = content
        else:
            event.custom.name = content
        stream.hear(event)
        if rest and number % rest[0] == 0:
            rest.pop(0)
            seen += stream.frames()
    seen += stream.frames()
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


@given(
    st.integers(-62_135_596_800, 253_402_300_799),
    st.integers(0, 999_999_999),
    st.text(),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_an_event_has_the_bytes_that_its_translation_has(
    seconds: int, nanos: int, content: str, tokens: int, thinks: bool
) -> None:
    """Its time to a tenth of a millisecond, before 1970, too; any text and any number of tokens."""
    event = event_pb2.Event()
    event.create_time.seconds, event.create_time.nanos = seconds, nanos
    delta = event.reasoning_delta if thinks else event.text_delta
    delta.content, delta.token_count = content, tokens
    stream, out, plain = Told(), bytearray(), bytearray()
    stream.hear(event)
    stream.take(out)
    translated = translate(event)
    assert translated is not None
    dialect = NativeDialect()
    dialect.begin(RUN_ID)
    dialect.write_event(plain, 1, 1, translated)
    assert out == plain


def test_stamps_are_read_of_what_is_told_and_noted_when_it_is_taken() -> None:
    """Of plain text without a look at anything else, once an event has shown that the run is live."""
    series = TokenSeries(stall_nano=10**9)
    read = StreamStamps(series, CLOCK, began_nano=0)
    stream = Told(live=True, stamps=read)
    stream.arrived(SenderClock(CLOCK.id, 6, 0, 0), 7, 1)
    timing = event_pb2.EventTiming(model_nano=2, logged_nano=3, clock_tag=CLOCK.tag)
    stream.hear(text(timing=timing), text(timing=timing))
    assert (series.waiting, read.is_plain) == (2, True)
    stream.take(bytearray())
    series.written(9)
    assert (series.waiting, series.last_sequence) == (0, 2)


def test_a_standstill_of_the_core_is_read_from_its_clock() -> None:
    """It is rare, and needs more than the two stamps."""
    read = stamps()
    stream = Told(live=True, stamps=read)
    stream.arrived(SenderClock(CLOCK.id, 6, 0, 5), 7, 1)
    stream.hear(text())
    assert read.core_lag_nano(1) == 5


def test_a_frame_that_shows_its_stamps_is_no_plain_one() -> None:
    """With `?timing=1` each event has its own."""
    stream = Told(live=True, merge=False, stamps=stamps(show=True))
    stream.hear(text(), text())
    assert all("timing" in frame["data"] for frame in stream.frames())
