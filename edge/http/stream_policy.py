"""How streams are paced, and when clients are to come back."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from litestar.response.base import ASGIResponse

from edge.sse.frames import opening

CONTENT_TYPE: Final = "text/event-stream"
"""Exactly so: with a charset behind it, fetch-event-source retries for ever."""

STREAM_HEADERS: Final = (
    (b"content-type", CONTENT_TYPE.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)
"""What every stream is sent with."""

HeartbeatKind = Literal["comment", "ping", "off"]


class StreamLook(NamedTuple):
    """What a client wants to see besides events."""

    heartbeat: HeartbeatKind = "comment"
    """What a heartbeat looks like."""
    timing: bool = False
    """Whether events tell their stamps: then each has a frame of its own."""


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How streams are paced."""

    commit_s: float = 0.25
    """How long a refusal by the core can still become an HTTP status."""
    heartbeat_s: float = 15.0
    """The silence after which a heartbeat is sent."""
    write_deadline_s: float = 30.0
    """How long one write may stay stuck before its client is cut off."""
    retry_ms: int = 1000
    """The reconnection time that clients are given; spread by half of it either way."""
    reconnects_per_s: float = 500.0
    """How many clients are to come back a second: with many streams, the time is spread further."""

    def spread_ms(self, streams: int) -> float:
        """Return over what time clients are to come back.

        Args:
            streams: How many there are.
        """
        return max(self.retry_ms, 1000 * streams / self.reconnects_per_s)

    def jittered_retry_ms(self, streams: int) -> int:
        """Return a reconnection time that keeps clients from coming back all at once.

        Args:
            streams: How many clients there are.
        """
        return int(self.retry_ms / 2 + self.spread_ms(streams) * random.random())  # noqa: S311 - jitter, no secret


def refuse_for_now() -> ASGIResponse:
    """Return the same to clients that take a stream that ends for an answer: to these, a status says more."""
    return ASGIResponse(
        body=b"This server is busy. Try again in a moment.",
        media_type="text/plain",
        status_code=503,
        headers={"retry-after": "1", "cache-control": "no-store"},
    )


def jittered_ms(middle_ms: float) -> int:
    """Return a time that keeps clients from coming back all at once: half of `middle_ms` more or less."""
    return int(middle_ms * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret


def come_back_later(retry_ms: int) -> ASGIResponse:
    """Return the answer to a follow that can't be served now.

    A 200 that ends: an `EventSource` comes back after its `retry:`, while any other status would stop it
    for good.

    Args:
        retry_ms: When it is to come back, in milliseconds.
    """
    return ASGIResponse(
        body=opening(retry_ms) + b"\n",
        status_code=200,
        headers={name.decode(): value.decode() for name, value in STREAM_HEADERS},
    )
