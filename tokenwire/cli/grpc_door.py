"""The core's door: StreamRun, FollowRun and CancelRun over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from tokenwire.cli.doors import (
    Access,
    BrokenError,
    DoorError,
    Question,
    Received,
    RefusedError,
    UnreachableError,
)
from tokenwire.cli.translate import cursor_of, received, received_control
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as messages
from tokenwire.v1 import agent_service_pb2_grpc as service
from tokenwire.v1 import run_pb2

OPTIONS: Final = (
    # A peer that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
UNARY_TIMEOUT_S: Final = 5.0
NANO: Final = 1_000_000_000

_LOST: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL})
"""How grpc itself reports a connection that broke."""


class GrpcDoor:
    """A core at HOST:PORT."""

    guard_s = 3.0
    """The core ends the run itself: this is for a core that does not answer."""

    def __init__(self, core: str, access: Access) -> None:
        self.place = f"the core at {core}"
        self.run_id = ""
        self._access = access
        self._channel = _channel(core, access)
        self._stub = service.AgentServiceStub(self._channel)

    async def start(self, question: Question) -> AsyncIterator[Received]:
        """Start a run and yield what comes. See `Door`."""
        run = run_pb2.RunSpec(
            message=question.message,
            agent=question.agent,
            session_id=question.session_id,
            # A broken connection is to be mended by following; leaving is said with CancelRun.
            on_disconnect=run_pb2.ON_DISCONNECT_GRACE,
            timeout=_duration(question.timeout_s),
        )
        call = self._stub.StreamRun(messages.StreamRunRequest(run=run), metadata=self._metadata())
        async for item in self._read(call):
            yield item

    async def follow(self, after: str) -> AsyncIterator[Received]:
        """Yield what comes after an event. See `Door`."""
        request = messages.FollowRunRequest(run_id=self.run_id, after=cursor_of(after))
        call = self._stub.FollowRun(request, metadata=self._metadata())
        async for item in self._read(call):
            yield item

    async def cancel(self) -> None:
        """Stop the run. See `Door`."""
        request = messages.CancelRunRequest(run_id=self.run_id, cause=messages.CANCEL_CAUSE_STOP)
        try:
            await self._stub.CancelRun(request, timeout=UNARY_TIMEOUT_S, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what tells the core who asks."""
        key = self._access.principal_key
        return ((METADATA_KEY, sign_principal(self._access.principal, key)),) if key else ()

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _read(self, call: Any) -> AsyncIterator[Received]:
        """Yield a stream's events and controls, and cancel the call whatever happens."""
        try:
            async for response in call:
                self.run_id = response.run_id or self.run_id
                for event in response.events:
                    item = received(event, self.run_id)
                    if item is not None:
                        yield item
                if response.HasField("control"):
                    control = received_control(response.control, self.run_id)
                    if control is not None:
                        yield control
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    def _failure(self, error: grpc.aio.AioRpcError) -> DoorError:
        """Return what a status means: only a server's own words come with rich details."""
        code, text = error.code(), error.details() or ""
        details = _details(error)
        if code not in _LOST or details is not None:
            return RefusedError(code.name, text, details)
        if self.run_id:
            return BrokenError(f"{self.place} broke off ({code.name})")
        return UnreachableError(f"Can't reach {self.place}: is it running? (`tokenwire up` starts one.)")


def _details(error: grpc.aio.AioRpcError) -> dict[str, str] | None:
    """Return the facts of the google.rpc.Status that a refusal carries; None when it carries none."""
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if not isinstance(packed, bytes):
        return None
    facts: dict[str, str] = {}
    for detail in status_pb2.Status.FromString(packed).details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            facts |= info.metadata
        elif detail.Unpack(bad_request):
            facts |= {violation.field: violation.description for violation in bad_request.field_violations}
    return facts


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    nanos = round(seconds * NANO)
    return Duration(seconds=nanos // NANO, nanos=nanos % NANO)


def _channel(core: str, access: Access) -> grpc.aio.Channel:
    """Return the channel to a core: with TLS when there is an authority to check it against."""
    if access.tls_ca is None:
        return grpc.aio.insecure_channel(core, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        access.tls_ca.read_bytes(),
        access.tls_key.read_bytes() if access.tls_key else None,
        access.tls_cert.read_bytes() if access.tls_cert else None,
    )
    return grpc.aio.secure_channel(core, credentials, options=OPTIONS)
