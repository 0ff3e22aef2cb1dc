"""A strict reader of Server-Sent Events: bytes in, at any cut; a message only at its blank line.

Written from the specification and from nothing of ours, so that it can judge what the edge sends.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, NamedTuple

LINE_END = re.compile(r"\r\n|\r|\n")


class Message(NamedTuple):
    """One dispatched message."""

    id: str
    """The last event id at that moment."""
    event: str
    """`message` unless it was named."""
    data: str


class SseReader:
    """What a client has of a stream whose bytes come in pieces."""

    def __init__(self) -> None:
        self.last_id = ""
        """What the client sends as Last-Event-ID when the stream breaks here."""
        self.messages: list[Message] = []
        """All that was dispatched."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_cr = False
        self._id = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> None:
        """Take some more bytes."""
        text = self._decoder.decode(piece)
        if text and self._after_cr:
            # The CR has ended the line already.
            self._after_cr = False
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r") if text else self._after_cr
        *lines, self._line = LINE_END.split(self._line + text)
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self) -> None:
        self.last_id = self._id
        if self._data:
            self.messages.append(Message(self._id, self._event or "message", "\n".join(self._data)))
        self._event, self._data = "", []


def read_all(body: bytes) -> list[Message]:
    """Return the messages of a whole body."""
    reader = SseReader()
    reader.feed(body)
    return reader.messages


def events_of(body: str) -> list[dict[str, Any]]:
    """Return the JSON of each unnamed message of a body: the run's events, and an error of the edge."""
    return [json.loads(message.data) for message in read_all(body.encode()) if message.event == "message"]


def ids_of(body: str) -> list[str]:
    """Return the ids of a body's frames: each that was sent, also if it is that of the frame before."""
    return re.findall(r"^id: (.*)$", body, re.MULTILINE)
