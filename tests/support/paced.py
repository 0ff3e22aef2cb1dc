"""Cores that offer `pace`, and what they have of a run, for tests that break its streams."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence

import grpc

from tests.support.processes import Processes, Running
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_CONTINUE, RunSpec


def pace_core(processes: Processes, settings: Mapping[str, str], port: int = 0) -> tuple[str, Running]:
    """Run a core that offers `pace`; return its address and its process."""
    agents = "pace"
    return processes.core(port, agents=(), settings={**settings, "TOKENWIRE_AGENT": agents})


def order(tokens: int, rate: int) -> str:
    """Return what the pace agent is told."""
    return json.dumps({"tokens": tokens, "rate": rate, "size": 4})


def start_at(core: str, message: str) -> str:
    """Start a run of `pace` that nobody needs to follow; return its id."""
    spec = RunSpec(agent="pace", message=message, on_disconnect=ON_DISCONNECT_CONTINUE)
    with grpc.insecure_channel(core) as channel:
        return str(AgentServiceStub(channel).StartRun(pb.StartRunRequest(run=spec), timeout=30).run.run_id)


def cancel_at(core: str, run_id: str) -> None:
    """Stop a run."""
    with grpc.insecure_channel(core) as channel:
        AgentServiceStub(channel).CancelRun(pb.CancelRunRequest(run_id=run_id), timeout=30)


def events_at(core: str, run_id: str) -> list[Event]:
    """Return a run's events as a core has them."""
    with grpc.insecure_channel(core) as channel:
        responses = AgentServiceStub(channel).FollowRun(pb.FollowRunRequest(run_id=run_id), timeout=60)
        return [event for response in responses for event in response.events]


def places_of(events: Sequence[Event]) -> list[tuple[int, int]]:
    """Return the epoch and the sequence of each event."""
    return [(event.epoch, event.sequence) for event in events]


def kill(process: Running) -> None:
    """End a process as kill -9 does."""
    process.send(signal.SIGKILL)
    process.wait()


def port_of(address: str) -> int:
    """Return the port of HOST:PORT."""
    return int(address.rpartition(":")[2])
