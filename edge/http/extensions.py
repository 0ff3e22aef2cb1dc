"""What our server offers a response beyond ASGI: names in the scope's `extensions`."""

from __future__ import annotations

from typing import Final

ABORT_EXTENSION: Final = "tokenwire.abort"
"""The ASGI extension with which our server lets a response cut its connection at once."""

FLUSH_EXTENSION: Final = "tokenwire.flush"
"""The one with which our server lets a response wait until the kernel has taken what was sent: an async
function that returns whether it has."""

ARRIVED_EXTENSION: Final = "tokenwire.arrived"
"""The one in which our server says when a request came, in nanoseconds of the monotonic clock."""

PROBE_EXTENSION: Final = "tokenwire.probe"
"""The one with which a response tells our server how to have it write something at once: a function that
takes a function. That is called when the client has ended its side of the connection, and may have gone."""
