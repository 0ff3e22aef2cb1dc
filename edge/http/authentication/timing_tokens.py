"""Timing tokens: with them a page proves of which stream it reports when it has received the events.

The report goes into the stream's trace. Without proof, whoever may follow one run could write into any trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import jwt

from edge.errors import RequestError
from edge.http.authentication.tickets import ALGORITHM, LEEWAY_S, MAX_TICKET_CHARS

AUDIENCE: Final = "tokenwire-timing"
"""No other token of ours has it: a ticket is no timing token, and the reverse."""

LIFETIME_S: Final = 24 * 3600
"""Longer than a stream and the report on it take."""

_STREAM: Final = "stream"
_TRACEPARENT: Final = "tp"


class TimedStream(NamedTuple):
    """The stream that a page has seen."""

    id: str
    """Names the response, not the run: a run may have many readers."""
    traceparent: str
    """Of its span; empty where it is not traced."""


class TimingTokens:
    """Signs timing tokens and checks them.

    Args:
        key: What signs them; the same at every edge.
        now_unix_s: Tells the time when one is made.
    """

    def __init__(self, key: bytes, *, now_unix_s: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now_unix_s = now_unix_s

    def issue(self, principal: str, stream: TimedStream) -> str:
        """Return the token of a stream.

        Args:
            principal: Whose stream it is.
            stream: The stream.
        """
        claims = {
            "aud": AUDIENCE,
            "sub": principal,
            "exp": int(self._now_unix_s()) + LIFETIME_S,
            _STREAM: stream.id,
            _TRACEPARENT: stream.traceparent,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def stream_of(self, token: str, principal: str) -> TimedStream:
        """Return which stream a token is of.

        Args:
            token: As it came.
            principal: Who reports.

        Raises:
            RequestError: INVALID_ARGUMENT, it is not one of ours, has expired, or is another one's.
        """
        try:
            if len(token) > MAX_TICKET_CHARS:
                raise jwt.DecodeError("it is too long")
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                leeway=LEEWAY_S,
                options={"require": ["aud", "sub", "exp", _STREAM, _TRACEPARENT]},
            )
            if claims["sub"] != principal:
                raise jwt.InvalidTokenError("it is another principal's")
        except jwt.PyJWTError as error:
            raise RequestError(
                "INVALID_ARGUMENT", "The timing token is not valid.", details={"field": "token"}
            ) from error
        return TimedStream(claims[_STREAM], claims[_TRACEPARENT])
