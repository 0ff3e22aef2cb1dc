"""What our server offers a response beyond ASGI: names in the scope's `extensions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

ABORT_EXTENSION: Final = "tokenwire.abort"
"""The ASGI extension with which our server lets a response cut its connection at once."""

WRITER_EXTENSION: Final = "tokenwire.writer"
"""The one with which our server lets a response write its body past `send`, in any turn of the loop: an
`OpenWriter`. Head and end are sent as ever."""

ARRIVED_EXTENSION: Final = "tokenwire.arrived"
"""The one in which our server says when a request came, in nanoseconds of the monotonic clock."""

PROBE_EXTENSION: Final = "tokenwire.probe"
"""The one with which a response tells our server how to have it write something at once: a function that
takes a function. That is called when the client has ended its side of the connection, and may have gone."""


class WriterClient(Protocol):
    """Who writes a body. Its methods are called by the connection, and must not raise."""

    def drained(self) -> None:
        """Learn that the kernel has taken all of what was written, after a write that said otherwise."""

    def gone(self) -> None:
        """Learn that the client has gone: nothing more is told."""


class Writer(Protocol):
    """Writes one response's body."""

    def write(self, body: bytes) -> bool:
        """Write a piece, and return whether the kernel has taken all of it.

        Not before the head was sent. Where it returns False, write nothing more until `drained` or `gone`.

        Args:
            body: The piece; not empty.
        """

    async def aclose(self) -> None:
        """End all that serves the writer: nothing more is told. The response itself is not ended."""


OpenWriter: TypeAlias = Callable[[WriterClient], Writer]
"""Returns the writer of the response that runs. That the client has gone may be told before any write."""
