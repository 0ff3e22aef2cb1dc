"""The core's door: StreamRun, FollowRun and CancelRun over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from tokenwire.addresses import channel_options
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
    # A channel that is made anew connects anew, whatever the pause of the one before.
    ("grpc.use_local_subchannel_pool", 1),
)
CONNECT_TIMEOUT_S: Final = 5.0
UNARY_TIMEOUT_S: Final = 5.0
NANO: Final = 1_000_000_000

HOW_TO_PROVE: Final = (
    "Set TOKENWIRE_API_KEY to your API key or JWT (the core must accept it: TOKENWIRE_AUTH), or "
    "TOKENWIRE_PRINCIPAL_KEY to that of the core."
)
"""What to do where the core wants to know who calls, and nothing was sent that could prove it."""

OTHER_KEY: Final = (
    "The call was signed with TOKENWIRE_PRINCIPAL_KEY, which must be that of the core. To call with "
    "TOKENWIRE_API_KEY instead, unset it."
)
"""What to do where the core takes no signed principal, though there is an API key: it was not sent."""

_LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""How grpc itself, or a proxy, reports a connection that broke."""

_ON_ITS_WAY: Final = frozenset({grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING})


class GrpcDoor:
    """Cores that serve the same runs. One of them is connected to at a time.

    Args:
        cores: Their addresses, from `tokenwire.addresses.read_targets`.
        access: What proves who asks.
    """

    guard_s = 3.0
    """The core ends the run itself: this is for a core that does not answer."""
    is_dense = True

    def __init__(self, cores: Sequence[str], access: Access) -> None:
        self.run_id = ""
        self.retry_s = 0.0
        self._cores = cores
        self._access = access
        self._turns = 0
        self._was_reached = False
        self._is_connected = False
        self._channel = _channel(self._core, access)

    @property
    def _core(self) -> str:
        return self._cores[self._turns % len(self._cores)]

    @property
    def place(self) -> str:
        """The present core's address, for messages."""
        return f"the core at {self._core}"

    @property
    def is_out_of_reach(self) -> bool:
        """Whether all cores were tried, and none has ever answered."""
        return not self._was_reached and self._turns + 1 >= len(self._cores)

    async def turn(self) -> None:
        """Go on at the next core. See `Door`."""
        await self._channel.close()
        self._turns += 1
        self.retry_s = 0.0
        self._channel = _channel(self._core, self._access)

    async def start(self, question: Question) -> AsyncIterator[Received]:
        """Start a run and yield what comes. See `Door`."""
        run = run_pb2.RunSpec(
            message=question.message,
            agent=question.agent,
            session_id=question.session_id,
            # A broken connection is to be mended by following; leaving is said with CancelRun.
            on_disconnect=run_pb2.ON_DISCONNECT_GRACE,
            timeout=_duration(question.timeout_s),
            request_id=question.request_id,
        )
        stub = await self._connected()
        call = stub.StreamRun(messages.StreamRunRequest(run=run), metadata=self._metadata())
        async for item in self._read(call):
            yield item

    async def follow(self, after: str) -> AsyncIterator[Received]:
        """Yield what comes after an event. See `Door`."""
        request = messages.FollowRunRequest(run_id=self.run_id, after=cursor_of(after))
        stub = await self._connected()
        call = stub.FollowRun(request, metadata=self._metadata())
        async for item in self._read(call):
            yield item

    async def cancel(self) -> None:
        """Stop the run. See `Door`."""
        request = messages.CancelRunRequest(run_id=self.run_id, cause=messages.CANCEL_CAUSE_STOP)
        # With a connection of its own: the other one may be on its way to the next core.
        async with _channel(self._core, self._access) as channel:
            stub = service.AgentServiceStub(channel)
            try:
                await stub.CancelRun(request, timeout=UNARY_TIMEOUT_S, metadata=self._metadata())
            except grpc.aio.AioRpcError as error:
                raise self._failure(error) from error

    async def _connected(self) -> service.AgentServiceStub:
        """Return what calls the present core, once it is connected or has failed to be."""
        state = self._channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while state in _ON_ITS_WAY:
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError as error:
            raise self._unreachable() from error
        self._is_connected = state is grpc.ChannelConnectivity.READY
        self._was_reached = self._was_reached or self._is_connected
        return service.AgentServiceStub(self._channel)

    def _unreachable(self) -> UnreachableError:
        return UnreachableError(f"Can't reach {self.place}: is it running? (`tokenwire up` starts one.)")

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what tells the core who asks."""
        access = self._access
        if access.principal_key:
            return ((METADATA_KEY, sign_principal(access.principal, access.principal_key)),)
        return (("authorization", f"Bearer {access.api_key}"),) if access.api_key else ()

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _read(self, call: Any) -> AsyncIterator[Received]:
        """Yield a stream's events and controls, and cancel the call whatever happens."""
        try:
            async for response in call:
                self.run_id = response.run_id or self.run_id
                for event in response.events:
                    yield received(event, self.run_id)
                if response.HasField("control"):
                    if len(self._cores) == 1:
                        self.retry_s = response.control.draining.retry_ms / 1000
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
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        if code is grpc.StatusCode.UNAUTHENTICATED:
            text = f"{text} {how_to_prove(self._access)}".rstrip()
        if isinstance(packed, bytes):
            facts, retry_s = _details(packed)
            if retry_s is not None and len(self._cores) > 1:
                retry_s = 0.0  # it concerns that core alone
            return RefusedError(code.name, text, facts, retry_s=retry_s)
        if code not in _LOST:
            return RefusedError(code.name, text)
        if self._is_connected:
            return BrokenError(f"the connection to {self.place} was lost ({code.name})")
        return self._unreachable()


def how_to_prove(access: Access) -> str:
    """Return what to do where a core refuses a call; empty where its own words about the API key say it.

    Args:
        access: What the call was made with.
    """
    if not access.api_key:
        return HOW_TO_PROVE
    return OTHER_KEY if access.principal_key else ""


def _details(packed: bytes) -> tuple[dict[str, str], float | None]:
    """Return the facts of the google.rpc.Status that a refusal carries, and when to ask again."""
    facts: dict[str, str] = {}
    retry_s: float | None = None
    for detail in status_pb2.Status.FromString(packed).details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            facts |= info.metadata
        elif detail.Unpack(bad_request):
            facts |= {violation.field: violation.description for violation in bad_request.field_violations}
        elif detail.Unpack(retry):
            retry_s = retry.retry_delay.seconds + retry.retry_delay.nanos / NANO
    return facts, retry_s


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    nanos = round(seconds * NANO)
    return Duration(seconds=nanos // NANO, nanos=nanos % NANO)


def _channel(core: str, access: Access) -> grpc.aio.Channel:
    """Return the channel to a core: with TLS when there is an authority to check it against."""
    options = (*OPTIONS, *channel_options(core))
    if access.tls_ca is None:
        return grpc.aio.insecure_channel(core, options=options)
    credentials = grpc.ssl_channel_credentials(
        access.tls_ca.read_bytes(),
        access.tls_key.read_bytes() if access.tls_key else None,
        access.tls_cert.read_bytes() if access.tls_cert else None,
    )
    return grpc.aio.secure_channel(core, credentials, options=options)
