"""What a client has read of one run over all its connections, and what is wrong with that. Pure.

One judge for all tests of faults: whatever broke, a reader's events are exactly 1 to n, each once, or he was
told where they begin again; and exactly one of them is terminal, the last.
"""

from __future__ import annotations

from tests.support.core import StreamedResponse
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import Cursor

TERMINAL = frozenset({"done", "error"})


class Reading:
    """Feed it every response of every connection, in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        """What the client holds: all events since the last `resync`."""
        self.controls: list[str] = []
        """The controls that it was given, by name."""
        self.wrong: list[str] = []
        """What should not have come as it came."""
        self._next = 1
        self._first = 1
        self._known: dict[tuple[int, int], bytes] = {}

    @property
    def cursor(self) -> Cursor | None:
        """The last event that the client has; None when it has none."""
        if not self.events:
            return None
        return Cursor(epoch=self.events[-1].epoch, sequence=self.events[-1].sequence)

    @property
    def ended(self) -> bool:
        """Whether the terminal event was read."""
        return bool(self.events) and is_terminal(self.events[-1])

    @property
    def text(self) -> str:
        """The answer as the client shows it."""
        return "".join(event.text_delta.content for event in self.events)

    @property
    def resyncs(self) -> int:
        """How often it was told that the log goes on elsewhere than at its cursor."""
        return self.controls.count("resync")

    def feed(self, response: StreamedResponse) -> None:
        """Take in one response."""
        if control := response.control.WhichOneof("control"):
            self.controls.append(control)
        if response.control.HasField("resync"):
            self.events.clear()
            self._next = self._first = response.control.resync.first.sequence
        for event in response.events:
            self._take(event)

    def faults(self) -> list[str]:
        """Return what is wrong with the whole; nothing when all of it came as promised."""
        terminals = [event.sequence for event in self.events if is_terminal(event)]
        last = self.events[-1].sequence if self.events else 0
        found = [*self.wrong]
        if terminals != [last]:
            found.append(f"terminal events at {terminals}, the last event is {last}")
        found += self._text_faults()
        return found

    def _text_faults(self) -> list[str]:
        """Return whether the end speaks of another text than was read."""
        if not self.ended or not self.events[-1].HasField("done") or self._first > 1:
            return []
        done = self.events[-1].done
        if done.final_message_omitted or done.final_message == self.text:
            return []
        return [f"the text {self.text!r} is not the final message {done.final_message!r}"]

    def _take(self, event: Event) -> None:
        """Compare an event with what must come now."""
        if self.ended:
            self.wrong.append(f"event {event.sequence} came after the end")
        if event.sequence != self._next:
            self.wrong.append(f"event {event.sequence} came instead of {self._next}")
        if self.events and event.epoch < self.events[-1].epoch:
            self.wrong.append(f"event {event.sequence} is of an earlier epoch than the one before")
        content = content_of(event)
        if self._known.setdefault((event.epoch, event.sequence), content) != content:
            self.wrong.append(f"event {event.sequence} says something else the second time")
        self.events.append(event)
        self._next = event.sequence + 1


def is_terminal(event: Event) -> bool:
    """Return whether an event is a run's last one."""
    return event.WhichOneof("payload") in TERMINAL


def content_of(event: Event) -> bytes:
    """Return an event without its stamps, which differ between live and replay."""
    bare = Event()
    bare.CopyFrom(event)
    bare.ClearField("timing")
    return bare.SerializeToString(deterministic=True)
