"""The way to cores: StreamRun, FollowRun and the unary calls over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from tokenwire import events
from tokenwire.client.errors import ConnectionLostError, RefusedError
from tokenwire.client.grpc_channels import Connection, Connections
from tokenwire.client.grpc_status import NANO, client_error
from tokenwire.client.trace_context import trace_headers
from tokenwire.client.transport import Answer, Credentials, Page, Received, StartRequest
from tokenwire.cursor import Cursor, EventId
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.runs import ON_DISCONNECT, RunView, SessionRuns, Transcript, turn_of, view_of
from tokenwire.translate import INPUT_OUTCOME, translate, translate_control
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub

UNARY_TIMEOUT_S: Final = 5.0
INPUT_TIMEOUT_S: Final = 10.0
"""An answer may have to be passed on to another core, and waits for the log there."""
GUARD_S: Final = 3.0
"""The core ends a run that takes too long itself: this is for a core that does not answer."""

Reply = TypeVar("Reply")


class GrpcTransport:
    """Cores that serve the same runs: they share a store. Tried in turn.

    Args:
        connections: The connections to them.
        credentials: What authenticates the client.
    """

    is_dense = True
    guard_s = GUARD_S

    def __init__(self, connections: Connections, credentials: Credentials) -> None:
        self._connections = connections
        self._credentials = credentials
        self._used: Connection | None = None
        """Over which the last call was made."""

    @property
    def _place(self) -> str:
        """The core of the last call, for messages."""
        return (self._used or self._connections.current).place

    def fork(self) -> GrpcTransport:
        """Return another one over the same connections. See `Transport`."""
        return GrpcTransport(self._connections, self._credentials)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether all cores were tried, and none has ever answered."""
        return self._connections.is_out_of_reach

    async def start(self, request: StartRequest) -> AsyncGenerator[Received, None]:
        """Start a run and yield what comes. See `Transport`."""
        # A core takes the end of a direct caller's call for its leaving, also if the connection broke. So
        # that a break cancels nothing, such a run is read as a relay does, and leaving is said.
        relay = request.on_disconnect == "cancel"
        asked = pb.StreamRunRequest(run=_spec(request), relay=relay)
        async for received in self._stream(lambda stub, metadata: stub.StreamRun(asked, metadata=metadata)):
            yield received

    async def follow(
        self, run_id: str, after: Cursor | None, *, relay: bool
    ) -> AsyncGenerator[Received, None]:
        """Yield what comes after an event. See `Transport`."""
        cursor = run_pb2.Cursor(epoch=after.epoch, sequence=after.sequence) if after else None
        asked = pb.FollowRunRequest(run_id=run_id, after=cursor, relay=relay)
        async for received in self._stream(lambda stub, metadata: stub.FollowRun(asked, metadata=metadata)):
            yield received

    async def turn(self) -> None:
        """Use the next core after a failure. See `Transport`."""
        await self._connections.turn(self._used)

    async def cancel(self, run_id: str) -> RunView:
        """Stop a run. See `Transport`."""
        return await self._cancel(run_id, pb.CANCEL_CAUSE_STOP)

    async def send_input(self, answer: Answer) -> str:
        """Answer a question. See `Transport`."""
        asked = pb.SendInputRequest(
            run_id=answer.run_id, input_id=answer.input_id, request_id=answer.request_id
        )
        if answer.value_json is None:
            asked.decline = True
        else:
            asked.value_json = answer.value_json
        sent = await self._ask(lambda stub, options: stub.SendInput(asked, **options), INPUT_TIMEOUT_S)
        return INPUT_OUTCOME.get(sent.outcome, "expired")

    async def leave(self, run_id: str) -> None:
        """Say that a reader with `relay` has left. See `Transport`."""
        await self._cancel(run_id, pb.CANCEL_CAUSE_FOLLOWER_LEFT)

    async def get(self, run_id: str) -> RunView:
        """Return the state of a run. See `Transport`."""
        asked = pb.GetRunRequest(run_id=run_id)
        return view_of((await self._ask(lambda stub, options: stub.GetRun(asked, **options))).run)

    async def runs(self, page: Page) -> SessionRuns:
        """Return runs of a session. See `Transport`."""
        asked = pb.ListRunsRequest(session_id=page.session_id, page_size=page.size, page_token=page.token)
        answer = await self._ask(lambda stub, options: stub.ListRuns(asked, **options))
        return SessionRuns([view_of(run) for run in answer.runs], answer.next_page_token)

    async def transcript(self, page: Page) -> Transcript:
        """Return turns of a session. See `Transport`."""
        newest, oldest = pb.TRANSCRIPT_ORDER_NEWEST_FIRST, pb.TRANSCRIPT_ORDER_OLDEST_FIRST
        asked = pb.GetTranscriptRequest(
            session_id=page.session_id,
            page_size=page.size,
            page_token=page.token,
            order=newest if page.newest_first else oldest,
        )
        answer = await self._ask(lambda stub, options: stub.GetTranscript(asked, **options))
        return Transcript([turn_of(turn) for turn in answer.turns], answer.next_page_token)

    async def aclose(self) -> None:
        """Close the connections. See `Transport`."""
        await self._connections.aclose()

    async def _cancel(self, run_id: str, cause: pb.CancelCause.ValueType) -> RunView:
        asked = pb.CancelRunRequest(run_id=run_id, cause=cause)
        return view_of((await self._ask(lambda stub, options: stub.CancelRun(asked, **options))).run)

    async def _ask(
        self, call: Callable[[Any, dict[str, Any]], Awaitable[Reply]], timeout_s: float = UNARY_TIMEOUT_S
    ) -> Reply:
        """Return the answer to a unary call."""
        options = {"timeout": timeout_s, "metadata": self._metadata()}
        try:
            async with self._calling() as stub:
                return await call(stub, options)
        except RefusedError as error:
            if error.code != "DEADLINE_EXCEEDED" or error.reason:
                raise
            text = f"{self._place} did not answer within {timeout_s:g} s"
            raise ConnectionLostError(text) from error

    async def _stream(
        self, call: Callable[[Any, tuple[tuple[str, str], ...]], Any]
    ) -> AsyncGenerator[Received, None]:
        """Yield what a call streams, and cancel the call whatever happens."""
        async with self._calling() as stub:
            stream = call(stub, self._metadata())
            try:
                async for response in stream:
                    for received in self._received(response):
                        yield received
            finally:
                # Since grpcio 1.83 a call that is neither read to its end nor cancelled stays open.
                stream.cancel()

    def _received(self, response: pb.StreamRunResponse | pb.FollowRunResponse) -> Iterator[Received]:
        """Yield what a response says."""
        run_id = response.run_id
        for event in response.events:
            position = EventId(run_id, Cursor(event.epoch or 1, event.sequence))
            yield Received(run_id, position, translate(event))
        match response.control.WhichOneof("control"):
            case None:
                return
            case "draining":
                retry_ms = response.control.draining.retry_ms
                retry_s = retry_ms / 1000 if self._connections.is_alone else 0.0
                yield Received(run_id, None, events.Reconnect(retry_ms=retry_ms), retry_s)
            case _:
                yield Received(run_id, None, translate_control(response.control, run_id))

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[AgentServiceStub]:
        """Lend a stub for one call, and say what its failure means."""
        connection = self._used = self._connections.current
        async with connection.in_use() as channel:
            await self._connections.connect(connection)
            try:
                yield AgentServiceStub(channel)
            except grpc.aio.AioRpcError as error:
                is_connected, is_alone = connection.is_connected, self._connections.is_alone
                raise client_error(error, connection.place, connected=is_connected, alone=is_alone) from error

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what authenticates a call, and names the trace that it belongs to."""
        credentials, metadata = self._credentials, trace_headers()
        if credentials.principal_key:
            metadata[METADATA_KEY] = sign_principal(credentials.principal, credentials.principal_key)
        elif credentials.api_key:
            metadata["authorization"] = f"Bearer {credentials.api_key}"
        return tuple(metadata.items())


def _spec(request: StartRequest) -> run_pb2.RunSpec:
    """Return a run to be started, as the contract says it."""
    return run_pb2.RunSpec(
        message=request.message,
        agent=request.agent,
        session_id=request.session_id,
        user_id=request.user_id,
        on_disconnect=ON_DISCONNECT[request.on_disconnect],
        timeout=_duration(request.timeout_s),
        request_id=request.request_id,
    )


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    nanos = round(seconds * NANO)
    return Duration(seconds=nanos // NANO, nanos=nanos % NANO)
