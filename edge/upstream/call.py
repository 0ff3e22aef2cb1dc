"""One run over a gRPC call of its own, read by a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import grpc
from opentelemetry.trace import SpanContext

from edge.errors import EdgeError, StreamBrokenError, UpstreamError
from edge.telemetry.client_span import StreamSpan
from edge.upstream.contract import Leave
from edge.upstream.source import SourceOwner, ended_early
from edge.upstream.status import upstream_error
from tokenwire.latency.sender_clock import SenderClock
from tokenwire.telemetry import monotonic_nano
from tokenwire.v1.agent_service_pb2 import FollowRunResponse

END_TIMEOUT_S: Final = 1.0
"""How long a call whose terminal event has come may take to end by itself, so that it is not taken for
cancelled: neither here nor by the core."""

StreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"

_parse: Final = FollowRunResponse.FromString
"""StreamRunResponse has the same fields under the same numbers."""


class CallSource:
    """A StreamRun or FollowRun call and its CLIENT span.

    Args:
        call: The call, started.
        span: Its span, ended here.
        owner: Whose reader is fed.
    """

    def __init__(self, call: StreamCall, span: StreamSpan, owner: SourceOwner) -> None:
        self._call = call
        self._span = span
        self._owner: SourceOwner | None = owner
        self._room = asyncio.Event()
        self._limit: asyncio.TimerHandle | None = None
        self._heard = False

    @property
    def span_context(self) -> SpanContext:
        """Names its CLIENT span."""
        return self._span.context

    @property
    def is_asked(self) -> bool:
        """Whether its core has been asked: always, the request is the call."""
        return True

    def resume(self) -> None:
        """Go on: the sink has room again."""
        self._room.set()

    def leave(self, otherwise: Callable[[], None]) -> bool:
        """Return False: a call that is cancelled may as well have broken."""
        del otherwise
        return False

    def finish(self) -> None:
        """Close once the core has ended it by itself, or has not for `END_TIMEOUT_S`."""
        self._owner = None
        self._limit = asyncio.get_running_loop().call_later(END_TIMEOUT_S, self._cancel)

    def close(self, reason: Leave) -> None:
        """Close at once. The core takes it for a broken link, whatever the reason is."""
        del reason
        self._owner = None
        self._cancel()
        self._room.set()

    def give_up(self) -> None:
        """Have it break, as if the core had ended it: its run goes on over another source."""
        self._call.cancel()
        self._room.set()

    async def read(self) -> None:
        """Feed the reader until the call is over, no faster than its sink allows."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                if self._owner is not None:
                    self._feed(self._owner, cast(bytes, message))
                while self._owner is not None and (sink := self._owner.reader.sink) and sink.full:
                    self._room.clear()
                    await self._room.wait()
        except grpc.aio.AioRpcError as error:
            failure = upstream_error(error)
            self._span.end(error.code().name, answered="reason" in failure.details)
            self._fail(failure)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                self._cancel()
                raise
            # Not cancelled here, or it has no owner: by the core. grpc.aio makes no difference.
            self._span.end("CANCELLED")
            self._fail(UpstreamError("UNAVAILABLE"))
        else:
            self._span.end("OK")
            self._fail(ended_early())
        finally:
            if self._limit is not None:
                self._limit.cancel()

    def _feed(self, owner: SourceOwner, message: bytes) -> None:
        recv_nano = monotonic_nano()
        if not self._heard:
            self._heard = True
            self._span.heard()
            owner.on_first()
        try:
            response = _parse(message)
            sent = response.clock
            clock = SenderClock(sent.id, sent.send_nano, sent.send_unix_nano, sent.loop_lag_nano)
            if owner.reader.feed(response, clock, recv_nano, len(message)):
                owner.on_change()
        except StreamBrokenError as error:
            self.close(Leave.BROKEN)
            owner.on_failed(error)
        except Exception as error:  # noqa: BLE001 # its owner logs it, and ends this one stream
            owner.on_crashed(error)

    def _fail(self, error: EdgeError) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.on_failed(error)

    def _cancel(self) -> None:
        # Since grpcio 1.83 an abandoned call is neither collected nor cancelled by itself.
        self._call.cancel()
        self._span.end("CANCELLED")
