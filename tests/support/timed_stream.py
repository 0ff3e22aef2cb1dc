"""A client that reads one SSE stream on a socket of its own, and notes what came when, in which write.

It takes HTTP apart itself: each write of the edge is one chunk, and a stall in `write` is about bytes.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from tests.support.processes import wait_until
from tests.support.sse_reader import SseReader

WITHIN_S: Final = 60.0
RECEIVES_BYTES: Final = 65_536
DELTAS: Final = frozenset({"text_delta", "reasoning_delta"})


class Frame(NamedTuple):
    """One message of the stream."""

    sequence: int
    """Of its event; 0 for a message without an id."""
    event: dict[str, Any]
    """What it says."""
    chunk: int
    """The write that it came in."""
    end_bytes: int
    """How many bytes of the response there are up to that chunk's end."""

    @property
    def stamps(self) -> dict[str, int]:
        """The stamps of the core and the edge, in microseconds of the Unix time."""
        return {stage: round(ms * 1000) for stage, ms in self.event["timing"].items()}


class TimedStream:
    """Reads in a thread, until the end or until it is told to pause.

    Args:
        url: The edge.
        request: The request line's method and target.
        body: What is posted; None for a GET.
        headers: Further ones.
        receive_buffer_bytes: How much the kernel holds for the client; None for its own choice.
    """

    def __init__(
        self,
        url: str,
        request: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        self.frames: list[Frame] = []
        """All that came."""
        self.headers: dict[str, str] = {}
        """Those of the response, in lower case."""
        self.status = 0
        self.read_bytes = 0
        """How many bytes of the response were read."""
        self.ended = threading.Event()
        """Set when nothing more comes."""
        self.broken = False
        """Whether the connection ended before the response did."""
        self._reads = threading.Event()
        self._reads.set()
        self._rest = bytearray()
        self._consumed = 0
        self._chunks = 0
        self._last_id = ""
        self._sse = SseReader()
        at = urlsplit(url)
        self._edge_port = at.port or 80
        self._socket = socket.socket()
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.connect((at.hostname, self._edge_port))
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{request} HTTP/1.1", f"Host: {at.netloc}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append("Content-Type: application/json")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Go away, in mid-stream or after it."""
        self._reads.set()
        if not self.ended.is_set():
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(WITHIN_S)
        self._socket.close()

    @property
    def trace_id(self) -> str:
        """The response's trace, as its `traceparent` names it."""
        return self.headers["traceparent"].split("-")[1]

    @property
    def run_id(self) -> str:
        return self.headers["run-id"]

    @property
    def last_sequence(self) -> int:
        """The newest event that was read; 0 for none."""
        return next((frame.sequence for frame in reversed(self.frames) if frame.sequence), 0)

    @property
    def deltas(self) -> list[Frame]:
        """The frames of tokens."""
        return [frame for frame in self.frames if frame.event["type"] in DELTAS]

    def until(self, true: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
        """Return once something holds of what was read.

        Raises:
            AssertionError: It did not within the time, or the stream has ended before.
        """

        def holds_or_ended() -> bool:
            holds = true()
            assert holds or not self.ended.is_set(), f"the stream has ended: {self.frames[-1:]}"
            return holds

        wait_until(holds_or_ended, what, within_s)

    def until_sequence(self, sequence: int) -> None:
        """Return once an event was read."""
        self.until(lambda: self.last_sequence >= sequence, f"event {sequence} was read")

    def to_end(self, within_s: float = WITHIN_S) -> None:
        """Return once the stream has ended.

        Raises:
            AssertionError: It did not within the time.
        """
        wait_until(self.ended.is_set, f"the stream has ended, now at {self.last_sequence}", within_s)

    def pause(self) -> None:
        """Read no more until `resume`, but for what a read that is under way still returns."""
        self._reads.clear()

    def resume(self) -> int:
        """Read on; return when, in nanoseconds of the monotonic clock."""
        now = time.monotonic_ns()
        self._reads.set()
        return now

    def taken_bytes(self) -> int:
        """Return how much of the response the kernel has taken from the edge: read or not yet read.

        What was received and not yet acknowledged counts twice: ask while nothing moves.
        """
        own_port = self._socket.getsockname()[1]
        unsent = _queues(self._edge_port, own_port)[0]
        unread = _queues(own_port, self._edge_port)[1]
        return self.read_bytes + unsent + unread

    def _read(self) -> None:
        try:
            while self._reads.wait() and (piece := self._socket.recv(RECEIVES_BYTES)):
                self.read_bytes += len(piece)
                self._rest += piece
                if not self.headers and not self._take_head():
                    continue
                if self._take_chunks():
                    return
            self.broken = True
        except OSError:
            self.broken = True
        finally:
            self.ended.set()

    def _take_head(self) -> bool:
        head, found, _ = bytes(self._rest).partition(b"\r\n\r\n")
        if not found:
            return False
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self._consume(len(head) + 4)
        return True

    def _take_chunks(self) -> bool:
        """Take what chunks are whole; return whether the last one was among them."""
        while (at := self._rest.find(b"\r\n")) >= 0:
            size = int(self._rest[:at], 16)
            end = at + 2 + size + 2
            if len(self._rest) < end:
                return False
            payload = bytes(self._rest[at + 2 : at + 2 + size])
            self._consume(end)
            if not size:
                return True
            self._chunks += 1
            known = len(self._sse.messages)
            self._sse.feed(payload)
            for message in self._sse.messages[known:]:
                event = json.loads(message.data)
                event.setdefault("type", message.event)
                # Controls have a name and no id; nor has an error of the edge's own: then it is the last one.
                moves = message.event == "message" and message.id != self._last_id
                self._last_id = message.id
                sequence = int(message.id.rpartition(".")[2]) if moves else 0
                self.frames.append(Frame(sequence, event, self._chunks, self._consumed))
        return False

    def _consume(self, size: int) -> None:
        del self._rest[:size]
        self._consumed += size


def _queues(own_port: int, other_port: int) -> tuple[int, int]:
    """Return how many bytes one end of a connection on loopback holds: not acknowledged, and not read."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, other, _, queues, *_ = line.split()
        if (int(own.split(":")[1], 16), int(other.split(":")[1], 16)) == (own_port, other_port):
            unsent, unread = queues.split(":")
            return int(unsent, 16), int(unread, 16)
    raise AssertionError(f"no connection from {own_port} to {other_port}")
