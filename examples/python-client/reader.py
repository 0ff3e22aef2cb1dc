"""Reads a run to its end: each event once, in order, over several calls and cores if needed.

It follows the rules of docs/grpc.md, "Following again".
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc
from position import BEFORE, Position, StreamBrokeError
from security import Security
from status import code_of, is_final, retry_after_s

from tokenwire.v1.agent_service_pb2 import (
    CANCEL_CAUSE_STOP,
    CancelRunRequest,
    FollowRunRequest,
    GetRunRequest,
    StreamRunRequest,
)
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import ON_DISCONNECT_GRACE, Cursor, RunSpec
from tokenwire.v1.stream_pb2 import Control

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
UNARY_TIMEOUT_S = 5.0


@dataclass(kw_only=True)
class RunReader:
    """A run, to be read once by iterating over it; `stop` may be called from another thread meanwhile."""

    cores: Sequence[str]
    """HOST:PORT of cores that serve the same runs."""
    spec: RunSpec | None = None
    """The run to start; None to follow one."""
    at: Position = field(default_factory=Position)
    """How far the run was read. To follow one: its id, and the last event that the caller has."""
    security: Security = field(default_factory=Security)
    """How to connect to the cores."""
    deadline_s: float | None = None
    """The deadline of the calls, which is that of a started run too; None for none."""
    patience_s: float = 10.0
    """How long to try without contact."""
    say: Callable[[str], object] = print
    """Receives notices that are not part of the run."""

    def __post_init__(self) -> None:
        # The request id makes a repeated start safe; GRACE keeps the run when the connection breaks.
        self._order = RunSpec(request_id=uuid.uuid4().hex, on_disconnect=ON_DISCONNECT_GRACE)
        self._order.MergeFrom(self.spec or RunSpec())
        self._known = threading.Event()
        if self.at.run_id:
            self._known.set()
        self._ends_at = None if self.deadline_s is None else time.monotonic() + self.deadline_s
        self._tried = 0  # number of cores left so far: selects the next one
        self._tries = 0  # calls without contact
        self._heard = time.monotonic()  # when the last contact ended
        self._wait_s = 0.0  # the delay that a draining core asks for

    def __iter__(self) -> Iterator[Event]:
        """Yield each event once, in order, to the terminal one.

        Raises:
            grpc.RpcError: A final refusal, or no contact within the patience.
            StreamBrokeError: No contact within the patience.
        """
        while not self.at.outcome:
            try:
                yield from self._read_once()
            except (grpc.RpcError, StreamBrokeError) as error:
                self._pause_or_raise(error)

    def stop(self) -> None:
        """Cancel the run as soon as its id is known, retrying as needed.

        Reading continues to the end of the run.

        Raises:
            grpc.RpcError: It was refused, or no core answered within the patience.
        """
        self._known.wait()
        give_up_at = time.monotonic() + self.patience_s
        request = CancelRunRequest(run_id=self.at.run_id, cause=CANCEL_CAUSE_STOP)
        for turn in count():
            with self.security.channel(self.cores[(self._tried + turn) % len(self.cores)]) as channel:
                try:
                    AgentServiceStub(channel).CancelRun(
                        request, timeout=UNARY_TIMEOUT_S, metadata=self.security.metadata()
                    )
                except grpc.RpcError as error:
                    if is_final(error) or time.monotonic() > give_up_at:
                        raise
                    time.sleep(pause_before(turn))
                else:
                    return

    def _read_once(self) -> Iterator[Event]:
        """Yield what one stream brings. It raises unless the stream ends with the run."""
        with self.security.channel(self.cores[self._tried % len(self.cores)]) as channel:
            stub = AgentServiceStub(channel)
            call = self._open(stub)
            try:
                for response in call:
                    self._learn(response.run_id)
                    self._heed(response.control)
                    for event in response.events:
                        is_fresh = self.at.take(event)
                        self._hear()
                        if is_fresh:
                            yield event
            finally:
                call.cancel()  # a stream must be ended explicitly
            if not self.at.outcome and self.at.run_id:
                self._look_for_end(stub)
        if not self.at.outcome:
            raise StreamBrokeError("the stream ended before the run")

    def _open(self, stub: AgentServiceStub) -> Any:
        """Start the run, or follow it as soon as it has an id; return the call, which yields responses."""
        left_s, metadata = self._remaining_s(), self.security.metadata()
        if not self.at.run_id:
            return stub.StreamRun(StreamRunRequest(run=self._order), timeout=left_s, metadata=metadata)
        request = FollowRunRequest(run_id=self.at.run_id)
        if self.at.cursor != BEFORE:
            request.after.CopyFrom(Cursor(epoch=self.at.cursor.epoch, sequence=self.at.cursor.sequence))
        return stub.FollowRun(request, timeout=left_s, metadata=metadata)

    def _look_for_end(self, stub: AgentServiceStub) -> None:
        """Ask what became of a run whose stream ended without a terminal event."""
        request = GetRunRequest(run_id=self.at.run_id)
        answer = stub.GetRun(request, timeout=UNARY_TIMEOUT_S, metadata=self.security.metadata())
        self.at.conclude(answer.run)

    def _learn(self, run_id: str) -> None:
        """Note the run's id, for which `stop` waits."""
        if run_id and not self.at.run_id:
            self.at.run_id = run_id
            self._known.set()

    def _heed(self, control: Control) -> None:
        """Handle a control. Unknown controls are skipped."""
        said = control.WhichOneof("control")
        if said is not None:
            self._hear()
        if said == "resync":
            self.at.resync(control.resync.first)
            self.say(f"resync ({control.resync.reason}): goes on with event {control.resync.first.sequence}")
        elif said == "degraded":
            self.say(f"waiting: {control.degraded.message}")
        elif said == "draining":
            self._wait_s = control.draining.retry_ms / 1000  # the stream ends by itself

    def _hear(self) -> None:
        """Reset the pauses: the core has answered."""
        self._tries, self._wait_s = 0, 0.0

    def _pause_or_raise(self, error: grpc.RpcError | StreamBrokeError) -> None:
        """Wait before the next call, at the next core; raise what is not to be tried again."""
        if self._tries == 0:
            self._heard = time.monotonic()
        pause_s = pause_before(self._tries)
        if len(self.cores) == 1:  # a delay applies only to the core that asked for it
            pause_s = max(pause_s, self._wait_s, retry_after_s(error))
        if is_final(error) or time.monotonic() + pause_s - self._heard > self.patience_s:
            raise error
        if self._tries == 0 and self.at.run_id:
            self.say(f"the stream broke off ({code_of(error)}): following the run again")
        self._tries += 1
        self._tried += 1
        time.sleep(pause_s)

    def _remaining_s(self) -> float | None:
        """Return how much of the deadline is left, in seconds; None without one."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())


def pause_before(attempt: int) -> float:
    """Return how long to wait before a try, in seconds; tries are counted from 0 after the last contact.

    A random part of up to half is subtracted: the clients of a failed core must not reconnect all at once.
    """
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(attempt, 8), LONGEST_PAUSE_S)
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 # spreads clients, hides nothing
