"""A TCP relay before a server: its connections can be cut, frozen or refused, as by a network that fails."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

CHUNK_BYTES: Final = 65_536
HOLD_S: Final = 0.02
"""Time for the client to read what was passed before the reset. One that has not has lost more than the cut
took: what it then resumes must be whole all the same."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST and forgets what was not sent."""


class Relay:
    """Passes bytes between its own loopback port and a server's.

    Args:
        target: HOST:PORT of the server.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._swallowed = b""
        self._last_words: list[bytes] = []
        self._flows = {is_answer: threading.Event() for is_answer in (False, True)}
        self.thaw()
        self._away = threading.Event()
        self.cuts = 0
        """How often connections were cut."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Its own HOST:PORT."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

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

    def cut(self) -> None:
        """Reset all connections, on both sides. New ones are taken."""
        with self._lock:
            ending, self._open = self._open, set()
            self.cuts += 1
        for end in ending:
            with suppress(OSError):  # its other side has just ended by itself
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it, which closes it

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
        self.cut()

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
            with self._lock:
                self._open |= {client, server}
            for ends in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        """Pass bytes on until one side has closed, or the connection was cut."""
        try:
            while data := source.recv(CHUNK_BYTES):
                if is_answer and self._swallowed and self._swallowed in data:
                    self._swallowed = b""
                    self.cut()
                    return
                self._flows[is_answer].wait()
                if is_answer and self._last_words and self._last_words[0] in data:
                    marker = self._last_words.pop(0)
                    sink.sendall(data[: data.index(marker) + len(marker)])
                    time.sleep(HOLD_S)
                    self.cut()
                    return
                sink.sendall(data)
        except OSError:
            pass  # the other thread, or `cut`, has ended it
        finally:
            with self._lock:
                self._open.discard(source)
            source.close()
            with suppress(OSError):  # it is closed already
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay_to(target: str) -> Iterator[Relay]:
    """Run a relay before a server."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()
