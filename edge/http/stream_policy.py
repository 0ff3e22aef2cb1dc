"""How streams are paced, and when clients are to come back."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

from litestar.response.base import ASGIResponse
from pydantic import BaseModel, Field

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


class StreamSettings(BaseModel, extra="forbid"):
    """How streams are paced: what an operator can set. A part of the edge's settings, which inherit it."""

    commit_ms: float = Field(default=250, ge=0, le=10_000)
    """How long the edge waits for the core's first answer before it sends the status 200, in milliseconds. A
    refusal within this time gets its own HTTP status; a later one is an `error` event."""
    heartbeat_s: float = Field(default=15, gt=0)
    """Silence after which a heartbeat is sent, in seconds."""
    write_deadline_s: float = Field(default=30, gt=0)
    """How long a write to a client may be stuck before the connection is cut, in seconds."""
    retry_ms: int = Field(default=1000, ge=10)
    """Reconnection time sent to browsers, in milliseconds; randomly varied by up to half."""
    reconnects_per_s: float = Field(default=500, gt=0)
    """Target number of browsers that reconnect per second after this edge ends. If more streams are open, the
    reconnection times are spread: by 1 s for each such number of streams."""


_DEFAULTS: Final = StreamSettings()


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How streams are paced."""

    commit_s: float = _DEFAULTS.commit_ms / 1000
    """How long a refusal by the core can still become an HTTP status."""
    heartbeat_s: float = _DEFAULTS.heartbeat_s
    """The silence after which a heartbeat is sent."""
    write_deadline_s: float = _DEFAULTS.write_deadline_s
    """How long one write may stay stuck before its client is cut off."""
    retry_ms: int = _DEFAULTS.retry_ms
    """The reconnection time that clients are given; spread by half of it either way."""
    reconnects_per_s: float = _DEFAULTS.reconnects_per_s
    """How many clients are to come back a second: with many streams, the time is spread further."""

    @classmethod
    def of(cls, settings: StreamSettings, *, edges: int = 1) -> Self:
        """Return the policy of one edge process.

        Args:
            settings: What is set.
            edges: How many processes share what is set for an edge.
        """
        return cls(
            commit_s=settings.commit_ms / 1000,
            heartbeat_s=settings.heartbeat_s,
            write_deadline_s=settings.write_deadline_s,
            retry_ms=settings.retry_ms,
            reconnects_per_s=settings.reconnects_per_s / edges,
        )

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
