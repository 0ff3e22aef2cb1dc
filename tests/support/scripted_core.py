"""A core that plays a script: streams that break in every way, for clients of any language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import Run
from tokenwire.v1.stream_pb2 import Control

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"


@dataclass
class Leg:
    """One stream: what it sends, and how it ends."""

    sends: Sequence[Event | Control] = ()
    code: grpc.StatusCode = grpc.StatusCode.OK
    retry_after_ms: int | None = None
    """It is refused by the core itself, which says when to come back."""


@dataclass
class ScriptedCore(AgentServiceServicer):
    """Plays one leg a stream, and notes what it was asked."""

    legs: list[Leg]
    run: Run = field(default_factory=Run)
    """What GetRun tells."""
    address: str = ""
    started: list[str] = field(default_factory=list)
    """The request id of each start."""
    followed: list[tuple[int, int]] = field(default_factory=list)
    """The epoch and sequence that each follow began after."""

    def StreamRun(  # noqa: N802 # the contract's name
        self, request: pb.StreamRunRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StreamRunResponse]:
        """Play a leg."""
        self.started.append(request.run.request_id)
        for sent in self._play(context):
            yield pb.StreamRunResponse(run_id=RUN_ID, **sent)

    def FollowRun(  # noqa: N802
        self, request: pb.FollowRunRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.FollowRunResponse]:
        """Play a leg."""
        self.followed.append((request.after.epoch, request.after.sequence))
        for sent in self._play(context):
            yield pb.FollowRunResponse(run_id=RUN_ID, **sent)

    def GetRun(  # noqa: N802
        self, request: pb.GetRunRequest, context: grpc.ServicerContext
    ) -> pb.GetRunResponse:
        """Tell of the run."""
        del request, context
        return pb.GetRunResponse(run=self.run)

    def _play(self, context: grpc.ServicerContext) -> Iterator[dict[str, object]]:
        leg = self.legs.pop(0)
        if leg.retry_after_ms is not None:
            context.abort_with_status(rpc_status.to_status(refusal(leg.code, leg.retry_after_ms)))
        for each in leg.sends:
            yield {"events": [each]} if isinstance(each, Event) else {"control": each}
        if leg.code is not grpc.StatusCode.OK:
            context.abort(leg.code, "as the script says")


def refusal(code: grpc.StatusCode, retry_after_ms: int) -> Status:
    """Return what a core says that wants to be asked later."""
    status = Status(code=code.value[0], message="Later.")
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(retry_after_ms)
    for detail in (ErrorInfo(reason="RUNS_LIMIT", domain="tokenwire"), retry):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@contextmanager
def serving(core: ScriptedCore) -> Iterator[ScriptedCore]:
    """Serve a scripted core on a free port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    add_AgentServiceServicer_to_server(core, server)
    core.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield core
    finally:
        server.stop(None).wait()
