"""The gapless reader of one run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.errors import EdgeError, StreamBrokenError
from edge.upstream.reader import RunReader
from tokenwire.cursor import START, Cursor
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.v1.agent_service_pb2 import FollowRunResponse
from tokenwire.v1.event_pb2 import Done, Error, Event, TextDelta
from tokenwire.v1.link_pb2 import LinkBatch
from tokenwire.v1.run_pb2 import Cursor as CursorMessage
from tokenwire.v1.stream_pb2 import CaughtUp, Control, Degraded, Draining, Resync

CLOCK = SenderClock(7, 5, 0, 0)


class Sink:
    """Keeps what it is told, and may do something when it is told something."""

    full = False

    def __init__(self, at: dict[str, Callable[[], None]] | None = None) -> None:
        self.told: list[str] = []
        self._at = at or {}

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what in self._at:
            self._at[what]()

    def begin(self, run_id: str) -> None:
        self._note(f"begin {run_id}")

    def arrived(self, clock: SenderClock, recv_nano: int, size_bytes: int) -> None:
        self._note(f"arrived {clock.send_nano} {recv_nano} {size_bytes}")

    def event(self, epoch: int, sequence: int, event: Event) -> None:
        self._note(f"{epoch}.{sequence} {event.WhichOneof('payload')}")

    def control(self, control: Control) -> None:
        self._note(str(control.WhichOneof("control")))

    def flush(self) -> None:
        self._note("flush")

    def end(self, failure: EdgeError | None) -> None:
        raise AssertionError(f"its owner says so, not the reader: {failure}")


def reading(sink: Sink, run_id: str = "r1", after: Cursor = START) -> RunReader:
    reader = RunReader(run_id, after)
    reader.sink = sink
    return reader


def delta(sequence: int, epoch: int = 1) -> Event:
    return Event(sequence=sequence, epoch=epoch, text_delta=TextDelta(content="a"))


def batch(*events: Event, control: Control | None = None, run_id: str = "r1") -> LinkBatch:
    return LinkBatch(run_id=run_id, events=events, control=control)


def fed(reader: RunReader, message: LinkBatch | FollowRunResponse) -> bool:
    return reader.feed(message, CLOCK, 9, 100)


def test_each_event_is_told_once_and_in_order() -> None:
    """One word before, with the clock, one behind, to write; what came twice is dropped."""
    sink = Sink()
    reader = reading(sink, run_id="")
    assert not fed(reader, batch(delta(1), delta(2)))
    assert not fed(reader, batch(delta(1), delta(2), delta(3), run_id=""))
    assert sink.told == [
        *("begin r1", "arrived 5 9 100", "1.1 text_delta", "1.2 text_delta", "flush"),
        *("arrived 5 9 100", "1.3 text_delta", "flush"),
    ]
    assert reader.run_id == "r1"
    assert reader.cursor == Cursor(1, 3)


def test_a_response_of_a_call_is_read_as_a_batch_of_a_link_is() -> None:
    """They have the same fields."""
    sink = Sink()
    fed(reading(sink), FollowRunResponse(run_id="r1", events=[delta(1)]))
    assert sink.told == ["begin r1", "arrived 5 9 100", "1.1 text_delta", "flush"]


def test_a_run_that_is_followed_keeps_the_id_by_which_it_was_asked_for() -> None:
    """A source need not repeat it."""
    sink = Sink()
    fed(reading(sink), batch(delta(1), run_id=""))
    assert sink.told[0] == "begin r1"


def test_a_missing_event_breaks_the_source_and_what_came_before_is_told() -> None:
    """The next source goes on after the last event that was told."""
    sink = Sink()
    reader = reading(sink, after=Cursor(1, 4))
    with pytest.raises(StreamBrokenError) as broken:
        fed(reader, batch(delta(5), delta(7)))
    assert broken.value.details == {"reason": "SEQUENCE_GAP", "after": "5", "got": "7"}
    assert sink.told[2:] == ["1.5 text_delta", "flush"]
    assert reader.cursor == Cursor(1, 5)
    assert not fed(reader, batch(delta(6), delta(7)))
    assert reader.cursor == Cursor(1, 7)


def test_an_event_of_an_earlier_epoch_breaks_the_source() -> None:
    """A writer that had lost the run wrote it: the log has another event of that number."""
    sink = Sink()
    reader = reading(sink, after=Cursor(2, 4))
    with pytest.raises(StreamBrokenError) as broken:
        fed(reader, batch(delta(5, epoch=2), delta(6, epoch=1)))
    assert broken.value.details == {"reason": "SEQUENCE_GAP", "after": "2.5", "got": "1.6"}
    assert sink.told[2:] == ["2.5 text_delta", "flush"]
    assert reader.cursor == Cursor(2, 5)


def test_a_terminal_event_that_the_sink_never_had_ends_nothing() -> None:
    """Its number is that of an event which the sink has: the client would wait for an end in vain."""
    sink = Sink()
    reader = reading(sink, after=Cursor(1, 4))
    assert not fed(reader, batch(Event(sequence=4, epoch=2, done=Done())))
    assert not reader.ended
    assert sink.told[2:] == ["flush"]


@pytest.mark.parametrize("terminal", [Event(done=Done()), Event(error=Error())])
def test_the_terminal_event_ends_the_run(terminal: Event) -> None:
    """With the epoch of who wrote it; nothing is told behind it."""
    sink = Sink()
    reader = reading(sink)
    terminal.sequence, terminal.epoch = 2, 3
    assert fed(reader, batch(delta(1), terminal))
    assert reader.ended
    assert reader.cursor == Cursor(3, 2)
    told = len(sink.told)
    assert not fed(reader, batch(delta(3)))
    assert len(sink.told) == told


def test_an_event_without_an_epoch_has_the_first() -> None:
    """Epochs count from 1."""
    sink = Sink()
    fed(reading(sink), batch(Event(sequence=1, text_delta=TextDelta(content="a"))))
    assert "1.1 text_delta" in sink.told


def test_an_event_that_is_unknown_here_is_told_and_counts() -> None:
    """A newer core's: the sink passes it over, and the next one is no gap."""
    sink = Sink()
    reader = reading(sink)
    assert not fed(reader, batch(Event(sequence=1, epoch=1), delta(2)))
    assert sink.told[2:] == ["1.1 None", "1.2 text_delta", "flush"]


def test_after_a_resync_the_run_goes_on_at_another_place() -> None:
    """Before the first event that there still is, behind the cursor or before it."""
    sink = Sink()
    reader = reading(sink, after=Cursor(1, 90))
    resync = Control(resync=Resync(first=CursorMessage(epoch=2, sequence=11), reason="ahead"))
    assert not fed(reader, batch(control=resync))
    assert reader.cursor == Cursor(2, 10)
    fed(reader, batch(delta(11, epoch=2)))
    assert sink.told[2:4] == ["resync", "flush"]
    assert sink.told[-2:] == ["2.11 text_delta", "flush"]


def test_a_resync_of_an_empty_log_starts_anew() -> None:
    """It names no first event."""
    reader = reading(Sink(), after=Cursor(1, 90))
    fed(reader, batch(control=Control(resync=Resync(reason="ahead"))))
    assert reader.cursor == START


@pytest.mark.parametrize(
    "control", [Control(caught_up=CaughtUp()), Control(degraded=Degraded(message="away"))]
)
def test_controls_are_told(control: Control) -> None:
    """They move no cursor."""
    sink = Sink()
    reader = reading(sink)
    assert not fed(reader, batch(control=control))
    assert sink.told[2:] == [str(control.WhichOneof("control")), "flush"]
    assert reader.cursor == START


def test_that_a_core_shuts_down_is_told_to_the_owner_alone() -> None:
    """It says so each time it has been set back."""
    sink = Sink()
    reader = reading(sink)
    for _ in range(2):
        assert fed(reader, batch(control=Control(draining=Draining(retry_ms=5))))
        assert reader.draining
        reader.draining = False
    assert not fed(reader, batch())
    assert "draining" not in sink.told


def test_a_message_without_anything_begins_the_run() -> None:
    """Whose id and clock it has; a control that is newer than this edge is nothing, too."""
    sink = Sink()
    reader = reading(sink, run_id="")
    assert not fed(reader, batch())
    assert not fed(reader, batch(control=Control()))
    assert sink.told == ["begin r1", *("arrived 5 9 100", "flush") * 2]


@pytest.mark.parametrize(
    ("word", "told"),
    [("begin r1", 1), ("1.1 text_delta", 3), ("1.2 text_delta", 4), ("flush", 5)],
)
def test_a_sink_that_is_taken_away_is_told_nothing_more(word: str, told: int) -> None:
    """Within a message: it may close its call at each word."""

    def gone() -> None:
        reader.sink = None

    sink = Sink({word: gone})
    reader = reading(sink)
    fed(reader, batch(delta(1), delta(2)))
    assert len(sink.told) == told
    assert not fed(reader, batch(delta(3)))
    reader.degraded("away")
    assert len(sink.told) == told


def test_a_degraded_of_the_edges_own_is_told_like_a_cores() -> None:
    """Before anything has come, too; then the run begins with it, once."""
    sink = Sink()
    reader = reading(sink)
    reader.degraded("away")
    reader.degraded("away")
    fed(reader, batch(delta(1)))
    assert sink.told[:5] == ["begin r1", "degraded", "flush", "degraded", "flush"]
    assert sink.told[5:] == ["arrived 5 9 100", "1.1 text_delta", "flush"]
