"""A stream without a client: encoded messages of a core in, frames out. No I/O, no loop."""

from __future__ import annotations

from typing import Any, Final

from edge.errors import EdgeError
from edge.sse.dialects import Dialect, NativeDialect
from edge.sse.stamps import StreamStamps
from edge.sse.stream import StreamState
from edge.upstream.reader import RunReader
from tokenwire.cursor import START, Cursor
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.v1.agent_service_pb2 import FollowRunResponse

_parse: Final = FollowRunResponse.FromString
"""StreamRunResponse has the same fields under the same numbers."""


class ClientlessStream(StreamState):
    """A stream that keeps what it is told until `take`."""

    def flush(self) -> None:
        """Write nothing."""
        self._outbox.forget_if_empty()

    def end(self, failure: EdgeError | None) -> None:
        """Be told no more."""


class FedStream:
    """The edge's half of one stream: a reader, and what it tells.

    Args:
        after: The last event that the client has.
        stamps: Reads the events' stamps; None for nobody.
        dialect: Writes the frames; None for the native one.
        more: As for `StreamState`.
    """

    def __init__(
        self,
        after: Cursor = START,
        stamps: StreamStamps | None = None,
        dialect: Dialect | None = None,
        **more: Any,
    ) -> None:
        self.state = ClientlessStream(
            dialect or NativeDialect(), stamps=stamps, **({"budget_bytes": 1 << 20} | more)
        )
        """What the client is told."""
        self.reader = RunReader("", after)
        """Sees to the order."""
        self.reader.sink = self.state

    def feed(self, message: bytes, recv_nano: int = 0) -> None:
        """Take in what a core sent.

        Args:
            message: An encoded StreamRunResponse or FollowRunResponse.
            recv_nano: When it came, in nanoseconds of the monotonic clock.
        """
        response = _parse(message)
        sent = response.clock
        clock = SenderClock(sent.id, sent.send_nano, sent.send_unix_nano, sent.loop_lag_nano)
        self.reader.feed(response, clock, recv_nano, len(message))

    def take(self) -> bytes:
        """Return the frames of all that waits."""
        out = bytearray()
        self.state.take(out)
        return bytes(out)
