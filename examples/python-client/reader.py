"""Reads a run to its end: each event once, in order, over as many calls and cores as that takes.

The rules that it keeps are those of docs/grpc.md, "Following again".
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import grpc
from position import BEFORE, Place, Position, StreamBrokeError

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


class RunReader:
    """A run, to be read once by iterating over it; `stop` may be called from another thread meanwhile.

    Args:
        cores: HOST:PORT of cores that serve the same runs.
        spec: The run to start; None to follow one.
        run_id: The run to follow.
        after: The last event that the caller has of it.
        security: How the cores are connected to.
        deadline_s: The deadline of the calls, which is that of a started run too; None for none.
        patience_s: How long it tries without contact.
        say: Told what is no part of the run.
    """

    def __init__(
        self,
        cores: Sequence[str],
        spec: RunSpec | None = None,
        *,
        run_id: str = "",
        after: Place = BEFORE,
        security: Security | None = None,
        deadline_s: float | None = None,
        patience_s: float = 10.0,
        say: Callable[[str], object] = print,
    ) -> None:
        self.at = Position(run_id, after)
        self._cores = cores
        self._spec = RunSpec(request_id=uuid.uuid4().hex, on_disconnect=ON_DISCONNECT_GRACE)
        self._spec.MergeFrom(spec or RunSpec())
        self._security = security or Security()
        self._ends_at = None if deadline_s is None else time.monotonic() + deadline_s
        self._patience_s = patience_s
        self._say = say
        self._tried = 0  # cores that were left: the next one is taken in turn
        self._tries = 0  # calls without contact
        self._heard = time.monotonic()  # when the last contact ended
        self._wait_s = 0.0  # what a draining core asks for

    def __iter__(self) -> Iterator[Event]:
        """Yield each event once, in order, to the terminal one.

        Raises:
            grpc.RpcError: A refusal that stands, or no contact for as long as the patience is.
            StreamBrokeError: No contact for as long as the patience is.
        """
        while not self.at.outcome:
            try:
                yield from self._read_once()
            except (grpc.RpcError, StreamBrokeError) as error:
                self._pause_or_raise(error)

    def stop(self) -> None:
        """Cancel the run, however often that has to be tried. Reading goes on to the end that comes of it.

        Raises:
            grpc.RpcError: It was refused, or no core answered for as long as the patience is.
        """
        give_up_at = time.monotonic() + self._patience_s
        request = CancelRunRequest(run_id=self.at.run_id, cause=CANCEL_CAUSE_STOP)
        for turn in range(1_000_000):
            with self._security.channel(self._cores[(self._tried + turn) % len(self._cores)]) as channel:
                try:
                    AgentServiceStub(channel).CancelRun(
                        request, timeout=UNARY_TIMEOUT_S, metadata=self._security.metadata()
                    )
                except grpc.RpcError as error:
                    if is_final(error) or time.monotonic() > give_up_at:
                        raise
                    time.sleep(pause_before(turn))
                else:
                    return

    def _read_once(self) -> Iterator[Event]:
        """Yield what one stream brings. It raises unless the stream ends with the run."""
        with self._security.channel(self._cores[self._tried % len(self._cores)]) as channel:
            stub = AgentServiceStub(channel)
            call = self._open(stub)
            try:
                for response in call:
                    self.at.run_id = self.at.run_id or response.run_id
                    self._heed(response.control)
                    for event in response.events:
                        is_fresh = self.at.take(event)
                        self._hear()
                        if is_fresh:
                            yield event
            finally:
                call.cancel()  # a stream that is left has to be ended
            if not self.at.outcome and self.at.run_id:
                self._look_for_end(stub)
        if not self.at.outcome:
            raise StreamBrokeError("the stream ended before the run")

    def _open(self, stub: AgentServiceStub) -> grpc.CallIterator:
        """Start the run, or follow it as soon as it has an id."""
        options = {"timeout": self._remaining_s(), "metadata": self._security.metadata()}
        if not self.at.run_id:
            return stub.StreamRun(StreamRunRequest(run=self._spec), **options)
        request = FollowRunRequest(run_id=self.at.run_id)
        if self.at.cursor != BEFORE:
            request.after.CopyFrom(Cursor(epoch=self.at.cursor.epoch, sequence=self.at.cursor.sequence))
        return stub.FollowRun(request, **options)

    def _look_for_end(self, stub: AgentServiceStub) -> None:
        """Ask what became of a run whose stream ended without a terminal event."""
        request = GetRunRequest(run_id=self.at.run_id)
        answer = stub.GetRun(request, timeout=UNARY_TIMEOUT_S, metadata=self._security.metadata())
        self.at.conclude(answer.run)

    def _heed(self, control: Control) -> None:
        """Take note of what is said between events. Controls that are not known are passed over."""
        said = control.WhichOneof("control")
        if said is not None:
            self._hear()
        if said == "resync":
            self.at.resync(control.resync.first)
            self._say(f"resync ({control.resync.reason}): goes on with event {control.resync.first.sequence}")
        elif said == "degraded":
            self._say(f"waiting: {control.degraded.message}")
        elif said == "draining":
            self._wait_s = control.draining.retry_ms / 1000  # the stream ends by itself

    def _hear(self) -> None:
        """Note a contact. It lasts until the stream ends."""
        self._tries, self._wait_s = 0, 0.0

    def _pause_or_raise(self, error: grpc.RpcError | StreamBrokeError) -> None:
        """Wait before the next call, at the next core; raise what is not to be tried again."""
        if self._tries == 0:
            self._heard = time.monotonic()
        pause_s = pause_before(self._tries)
        if len(self._cores) == 1:  # what a core asks for concerns that core alone
            pause_s = max(pause_s, self._wait_s, retry_after_s(error))
        if is_final(error) or time.monotonic() + pause_s - self._heard > self._patience_s:
            raise error
        if self._tries == 0 and self.at.run_id:
            self._say(f"the stream broke off ({code_of(error)}): following the run again")
        self._tries += 1
        self._tried += 1
        time.sleep(pause_s)

    def _remaining_s(self) -> float | None:
        """Return how much of the deadline is left, in seconds; None without one."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())


def pause_before(attempt: int) -> float:
    """Return how long to wait before a try, in seconds; tries are counted from 0 after the last contact.

    A random part of up to half is left out, so that the clients of a core that died do not come all at once.
    """
    pause_s = min(FIRST_PAUSE_S * 2 ** min(attempt, 8), LONGEST_PAUSE_S)
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 # spreads clients, hides nothing
