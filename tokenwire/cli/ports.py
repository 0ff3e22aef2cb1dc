"""The ports that `tokenwire up` gives to its processes."""

from __future__ import annotations

import errno
import socket

from tokenwire.addresses import address_of, try_bind

WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Where a server that listens everywhere is reached on this machine."""


class PortError(Exception):
    """A port can't be had. Its text is fit for the terminal."""


def claim(host: str, port: int, *, option: str) -> int:
    """Return the port that a server can have at this host: the given one, or for 0 any free one.

    The port is bound and let go: two programs that start in the same moment may still meet,
    and the server then says so itself. A port that another server shares out (SO_REUSEPORT)
    counts as in use.

    Args:
        host: Name or address to listen on.
        port: 0 to 65535.
        option: The option that chooses the port, for the message.

    Raises:
        PortError: The port is in use, not allowed, or the host is not this machine's.
    """
    try:
        return try_bind(host, port)
    except OSError as error:
        raise PortError(_explain(error, host, port, option)) from error


def _explain(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program. Choose another with {option}."
    if error.errno == errno.EACCES:
        return f"Port {port} needs root or CAP_NET_BIND_SERVICE. Choose one above 1023 with {option}."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {host!r} to listen on."
    return f"Can't listen on {address_of(host, port)}: {error.strerror or error}."


def reachable(host: str) -> str:
    """Return the host at which this machine reaches a server that listens on `host`."""
    return WILDCARDS.get(host, host)
