"""What Python can do at best: the same frames from one uvloop process, without a core, gRPC or ASGI.

    python -m bench.peers.raw_uvloop PORT

All streams are driven by one wheel of 1 ms slots, so that a turn of the loop writes all that is due, as an
edge does that reads batches.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from typing import Final, cast

import uvloop

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
READY: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
SLOTS: Final = 4096
BACKLOG: Final = 2048


def timestamp_ms() -> float:
    """Return the wall-clock time, as frames have it."""
    return time.time_ns() // 100_000 / 10


class Wheel:
    """Streams by the millisecond in which their next token is due."""

    def __init__(self) -> None:
        self.slot = int(time.perf_counter() * 1000)
        self._slots: list[list[Stream]] = [[] for _ in range(SLOTS)]

    def add(self, stream: Stream) -> None:
        """Have a stream write its next token when it is due. It must be due within SLOTS milliseconds."""
        self._slots[max(int(stream.due_s * 1000), self.slot + 1) % SLOTS].append(stream)

    def turn(self) -> None:
        """Write everything that is due."""
        now = int(time.perf_counter() * 1000)
        while self.slot < now:
            due, self._slots[self.slot % SLOTS] = self._slots[self.slot % SLOTS], []
            for stream in due:
                stream.write_token()
            self.slot += 1


class Stream(asyncio.Protocol):
    """One request, and the stream that answers it.

    Args:
        wheel: Drives the stream.
    """

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._received = b""
        self._prefix = ("id: " + secrets.token_hex(15) + ".1.").encode()
        self._is_open = True
        self._sequence = 1
        self._left = 0
        self._interval_s = 0.0
        self.due_s = 0.0
        """When the next token is to be written, by `time.perf_counter`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop writing."""
        del exc
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        """Begin to answer once the request is whole."""
        self._received += data
        _, found, body = self._received.partition(b"\r\n\r\n")
        if found and self._received.startswith(b"GET "):
            self._transport.write(READY)
            self._transport.close()
        elif found and body.endswith(b"}"):
            self._start(json.loads(json.loads(body)["message"]))

    def _start(self, order: dict[str, float]) -> None:
        self._left, self._interval_s = int(order["tokens"]), 1 / order["rate"]
        self._transport.write(HEAD)
        self._write(b'{"type":"run_started","timestamp":%.1f}' % timestamp_ms())
        self.due_s = time.perf_counter() + order.get("delay_s", 0)
        if order.get("delay_s", 0) * 1000 < SLOTS:
            self._wheel.add(self)

    def write_token(self) -> None:
        """Write the next token, or the end."""
        if not self._is_open:
            return
        self._sequence += 1
        if not self._left:
            self._write(b'{"type":"done","timestamp":%.1f}' % timestamp_ms())
            self._transport.write(b"0\r\n\r\n")
            return
        self._left -= 1
        number = self._sequence - 1
        self._write(b'{"type":"text_delta","timestamp":%.1f,"content":"%05d"}' % (timestamp_ms(), number))
        self.due_s += self._interval_s
        self._wheel.add(self)

    def _write(self, data: bytes) -> None:
        frame = b"%b%d\ndata: %b\n\n" % (self._prefix, self._sequence, data)
        self._transport.write(b"%x\r\n%b\r\n" % (len(frame), frame))


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    wheel = Wheel()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Stream(wheel), "127.0.0.1", port, backlog=BACKLOG)
    while True:
        wheel.turn()
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
