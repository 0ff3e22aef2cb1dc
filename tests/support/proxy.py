"""A TCP proxy before a server that fails as networks do: cut, frozen, refused, lost, delayed, silent.

It runs in threads of its own, so that tests with and without an event loop can use it.
"""

from __future__ import annotations

import enum
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from tests.support.frames import FrameCut, Frames

CHUNK_BYTES: Final = 65_536

HOLD_S: Final = 0.02
"""Time for the client to read what was passed before a reset. One that has not has lost more than the cut
took: what it then resumes must be whole all the same."""

DELAY_S: Final = 0.3
"""How long DELAY takes."""

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST and forgets what was not sent."""

CUT_HEADER: Final = re.compile(rb"\r\nx-cut: (\d+)", re.IGNORECASE)
"""The request's header that says after how many bytes of its response, head and framing included."""


class Fault(enum.Enum):
    """What happens to what came from a client in one piece."""

    PASS = "pass"  # noqa: S105 # no password
    LOSE_REPLY = "lose reply"
    """The server gets and executes it; its reply is dropped, and the client's connection reset."""
    LOSE_REQUEST = "lose request"
    """The server does not get it, and the client's connection is reset."""
    DELAY = "delay"
    """It waits a moment, and all behind it."""


Plan: TypeAlias = Callable[[bytes], Fault]
"""Says what happens to a piece."""


class Connection:
    """One client's connection, and the proxy's own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.said = bytearray()
        """What the client has sent first, up to one chunk: tells what the connection is for."""
        self.silent = threading.Event()
        """Set when nothing passes any more, either way, though both ends stay open."""
        self.stalled: set[bool] = set()
        """The directions in which nothing passes any more: True for answers."""
        self.left: int | None = None
        """How many bytes of the response are passed before the reset; None for all."""
        self.frames: Frames | None = None
        """Reads what the server says as HTTP/2, and knows where it is cut."""
        self.passed = 0
        """How many were."""
        self.is_losing = False
        """Whether the next reply is lost."""
        self.ends = (client, server)
        self.flowing = len(self.ends)
        """In how many directions it is still open."""

    def reset(self) -> None:
        """End it at once, on both sides."""
        for end in self.ends:
            with suppress(OSError):  # its other side has just ended by itself
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it, which closes it


class Proxy:
    """Passes bytes between its own loopback port and a server's.

    Args:
        target: HOST:PORT or http://HOST:PORT of the server.
        cuts_by_header: Whether requests say with a header `x-cut` after how many bytes their response is
            cut: HTTP/1.1, one request a connection.
        reads_frames: Whether what the server says is HTTP/2 that can be cut between and inside frames.
    """

    def __init__(self, target: str, *, cuts_by_header: bool = False, reads_frames: bool = False) -> None:
        self.send_to(target)
        self._reads_frames = reads_frames
        self.next_cut: FrameCut | None = None
        """Where the next connection is cut on which a client says something."""
        self._cuts_by_header = cuts_by_header
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._swallowed = b""
        self._last_words: list[bytes] = []
        self._flows = {is_answer: threading.Event() for is_answer in (False, True)}
        self.thaw()
        self._away = threading.Event()
        self.plan: Plan = lambda _: Fault.PASS
        """What happens to what clients send from now on."""
        self.done = dict.fromkeys(Fault, 0)
        """How often each fault was done."""
        self.accepted = 0
        """How many connections were passed on."""
        self.cuts = 0
        """How often connections were cut."""
        self.passed: list[int] = []
        """The sizes of the responses that were not, with `cuts_by_header`."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Its own port."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """Its own HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The same for HTTP."""
        return f"http://{self.address}"

    @property
    def connections(self) -> set[Connection]:
        """Those that are open."""
        with self._lock:
            return set(self._open)

    def send_to(self, target: str) -> None:
        """Connect new clients to another server: one that was restarted elsewhere."""
        host, _, port = target.removeprefix("http://").rpartition(":")
        self._target = host, int(port)

    def swallow(self, marker: bytes) -> None:
        """Cut all connections instead of passing on the first answer that holds these bytes."""
        self._swallowed = marker

    def cut_behind(self, *markers: bytes) -> None:
        """Cut all connections once an answer was passed on as far as these bytes, and no further.

        Args:
            markers: One for each cut; the next one counts from the cut before on.
        """
        self._last_words = [*markers]

    def freeze(self, *, answers_only: bool = False) -> None:
        """Hold all bytes back until `thaw`, and keep the connections: a server that hangs.

        Args:
            answers_only: Let the server have what it is asked: one that hung before it could answer.
        """
        self._flows[True].clear()
        if not answers_only:
            self._flows[False].clear()

    def thaw(self) -> None:
        """Pass on what was held back, and all that comes."""
        for flow in self._flows.values():
            flow.set()

    def silence(self, word: bytes) -> int:
        """Let nothing pass any more on connections that began with a word; return how many. New ones pass."""
        chosen = [connection for connection in self.connections if word in connection.said]
        for connection in chosen:
            connection.silent.set()
        return len(chosen)

    def stall(self, *, answers: bool) -> None:
        """Let nothing more pass in one direction on the connections that there are; new ones are as always.

        Args:
            answers: Whether in that of the answers, or else in that of what is asked.
        """
        for connection in self.connections:
            connection.stalled.add(answers)

    def cut(self) -> None:
        """Reset all connections, on both sides. New ones are taken."""
        self.cuts += 1
        self._reset_all()

    def go_away(self) -> None:
        """Reset all connections, and each new one at once until `come_back`: no network at all."""
        self._away.set()
        self.cut()

    def come_back(self) -> None:
        """Take connections again."""
        self._away.clear()

    def close(self) -> None:
        """Take no more connections, and cut those that there are."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thaw()
        self._reset_all()

    def _reset_all(self) -> None:
        with self._lock:
            ending, self._open = self._open, set()
        for connection in ending:
            connection.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            if self._away.is_set():
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self.accepted += 1
            connection = Connection(client, server)
            if self._reads_frames:
                connection.frames = Frames()
            with self._lock:
                self._open.add(connection)
            for is_answer in (False, True):
                threading.Thread(target=self._carry, args=(connection, is_answer), daemon=True).start()

    def _carry(self, connection: Connection, is_answer: bool) -> None:
        """Pass bytes on in one direction until one side has closed, or the connection was cut."""
        client, server = connection.ends
        source, sink = (server, client) if is_answer else (client, server)
        take = self._answer if is_answer else self._request
        try:
            while data := source.recv(CHUNK_BYTES):
                if not take(connection, sink, data):
                    return
            if is_answer and self._cuts_by_header:
                self.passed.append(connection.passed)
        except OSError:
            pass  # the other thread, or `cut`, has ended it
        finally:
            with self._lock:
                connection.flowing -= 1
                if not connection.flowing:
                    self._open.discard(connection)
            source.close()
            with suppress(OSError):  # it is closed already
                sink.shutdown(socket.SHUT_WR)

    def _request(self, connection: Connection, server: socket.socket, data: bytes) -> bool:
        """Pass on what a client says, as planned; return False if the connection was cut."""
        if connection.silent.is_set() or False in connection.stalled:
            return True
        if self._cuts_by_header and not connection.said:
            data = self._whole_head(connection, data)
        if self.next_cut is not None and connection.frames is not None and not connection.said:
            cut, self.next_cut = self.next_cut, None
            connection.frames.cut(cut, from_start=True)
        connection.said += data[: CHUNK_BYTES - len(connection.said)]
        fault = self.plan(data)
        self.done[fault] += 1
        if fault is Fault.LOSE_REQUEST:
            connection.reset()
            return False
        if fault is Fault.DELAY:
            time.sleep(DELAY_S)
        connection.is_losing |= fault is Fault.LOSE_REPLY
        self._flows[False].wait()
        server.sendall(data)
        return True

    def _whole_head(self, connection: Connection, data: bytes) -> bytes:
        """Read a request's head to its end; heed its `x-cut`, and make it the connection's only one."""
        client, _ = connection.ends
        while b"\r\n\r\n" not in data and (more := client.recv(CHUNK_BYTES)):
            data += more
        head, end, body = data.partition(b"\r\n\r\n")
        if cut := CUT_HEADER.search(head):
            connection.left = int(cut[1])
        # Of several requests on one connection, only the first one's header would be seen.
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*lines, b"Connection: close"]) + end + body

    def _answer(self, connection: Connection, client: socket.socket, data: bytes) -> bool:
        """Pass on what the server says; return False if the connection was cut."""
        if connection.silent.is_set() or True in connection.stalled:
            return True
        if connection.is_losing:
            connection.reset()
            return False
        if self._swallowed and self._swallowed in data:
            self._swallowed = b""
            self.cut()
            return False
        self._flows[True].wait()
        if self._last_words and self._last_words[0] in data:
            marker = self._last_words.pop(0)
            client.sendall(data[: data.index(marker) + len(marker)])
            time.sleep(HOLD_S)
            self.cut()
            return False
        before_cut = None
        if connection.left is not None and len(data) >= connection.left - connection.passed:
            before_cut = connection.left - connection.passed
        elif connection.frames is not None:
            before_cut = connection.frames.feed(data)
        if before_cut is not None:
            client.sendall(data[:before_cut])
            time.sleep(HOLD_S)
            self.cuts += 1
            connection.reset()
            return False
        client.sendall(data)
        connection.passed += len(data)
        return True


@contextmanager
def proxy_to(target: str, *, cuts_by_header: bool = False, reads_frames: bool = False) -> Iterator[Proxy]:
    """Stand before a server while the context lasts. See `Proxy`."""
    proxy = Proxy(target, cuts_by_header=cuts_by_header, reads_frames=reads_frames)
    try:
        yield proxy
    finally:
        proxy.close()
