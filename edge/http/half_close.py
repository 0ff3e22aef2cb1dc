"""A client that has ended its own side of the connection: has it gone, or does it still read?

Both send the same FIN. `nc -N`, clients that shut their sending side down after the request, and some relays
go on reading; a browser that closes a stream does not. Their answer to what they are sent tells: who has
closed the socket resets the connection, within one round trip. So the response is asked to write something at
once (a stream a comment), and again and again, ever more seldom: a relay that hands the FIN on (that of
`docker run -p`, `ssh -L`) takes the first one itself, and is gone once it could not pass that on. Before each
the socket is looked at, until it is reset or the response has ended.

Source: https://www.rfc-editor.org/rfc/rfc9293#section-3.6 (the half-closed connection)
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

FIRST_LOOK_S: Final = 0.005
LONGEST_LOOK_S: Final = 2.0
"""When the socket is looked at first, and how far apart looks become, each twice as far as the one before. A
client in the same network is seen to have gone within 5 ms."""


class HalfClose:
    """What is known of the client's side of one connection.

    Args:
        transport: The connection's. Reset by this where the client has gone.
        loop: Its loop.
    """

    __slots__ = ("_loop", "_probe", "_timer", "_transport", "has_ended")  # one for each connection

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.has_ended = False
        """Whether the client has ended its side: no further request comes."""
        self._transport = transport
        self._loop = loop
        self._probe: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def probe_with(self, probe: Callable[[], None]) -> None:
        """Take how to ask the response that runs to write something; ask at once if the side has ended.

        Not where the connection is lost already: a response may begin behind that, and nothing stops it then.
        """
        if self._transport.is_closing():
            return
        self._probe = probe
        if self.has_ended:
            self._ask()

    def end(self) -> None:
        """Note that the client has ended its side, while it is being answered."""
        if self.has_ended:
            return
        self.has_ended = True
        self._ask()

    def stop(self) -> None:
        """Look no longer: the response has ended, or the connection is lost."""
        self._probe = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        """Have something written, and look for the answer."""
        if self._timer is not None:
            self._timer.cancel()
        self._ask_and_look_after(FIRST_LOOK_S)

    def _ask_and_look_after(self, wait_s: float) -> None:
        if self._probe is not None:
            self._probe()
        self._timer = self._loop.call_later(wait_s, self._look, min(2 * wait_s, LONGEST_LOOK_S))

    def _look(self, next_s: float) -> None:
        self._timer = None
        if is_reset(self._transport):
            self._transport.abort()
        else:
            self._ask_and_look_after(next_s)


def is_reset(transport: asyncio.Transport) -> bool:
    """Return whether the client has reset a connection. Reading would tell, but has come to its end."""
    socket = transport.get_extra_info("socket")
    if socket is None or (descriptor := socket.fileno()) < 0:
        return False  # closed: the loop tells
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups are always told
    return bool(poll.poll(0))
