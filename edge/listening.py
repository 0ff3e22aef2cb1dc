"""The listening socket, tuned for streams that must not hide behind the kernel."""

from __future__ import annotations

import socket
from typing import Final

NOTSENT_LOWAT_BYTES: Final = 16 * 1024
"""How much the kernel takes that it can't send yet. By default it hides megabytes (38,000 frames were
measured) of a client that stopped reading."""

BACKLOG: Final = 2048


def listen(host: str, port: int, *, share: bool, write_deadline_s: float) -> socket.socket:
    """Return a listening socket; accepted ones inherit its options.

    Args:
        host: Where to listen, from `tokenwire.addresses.read_host`.
        port: 0 for any free one.
        share: Whether other sockets may listen on the same port (SO_REUSEPORT).
        write_deadline_s: How long what was sent may stay unacknowledged, in seconds.

    Raises:
        OSError: The address can't be had.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        _tune(listener, share=share, write_deadline_s=write_deadline_s)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _tune(listener: socket.socket, *, share: bool, write_deadline_s: float) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        # `::` is all addresses of both kinds, as at the core, whatever the system's default.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # What was sent and is not acknowledged by then means that nobody is there any more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_deadline_s * 1000))
