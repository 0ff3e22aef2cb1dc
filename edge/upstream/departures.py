"""Tells cores that the client of a run left by itself: the run's OnDisconnect decides what follows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from edge.errors import CORE_AWAY, UpstreamError
from edge.upstream.contract import Caller
from edge.upstream.tasks import BackgroundTasks
from tokenwire.logs import log_fields
from tokenwire.outage import Repeats
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import run_pb2

CLOSE_TIMEOUT_S: Final = 1.0
"""How long an edge that goes down waits until cores were told of those who have left just before."""

CancelRun = Callable[[str, "pb.CancelCause.ValueType", Caller], Awaitable[run_pb2.Run]]

logger = logging.getLogger(__name__)

_untold: Final = Repeats()
"""Which of the lines about clients that left unnoticed are logged."""


class Departures:
    """Tells of clients whose transport to the core can't tell it by itself.

    Args:
        cancel_run: The upstream's.
    """

    def __init__(self, cancel_run: CancelRun) -> None:
        self._cancel_run = cancel_run
        self.tasks = BackgroundTasks()
        """Tell of one client each."""

    def tell(self, run_id: str, caller: Caller) -> None:
        """Have the core learn that the client of a run has left.

        Args:
            run_id: The run.
            caller: On whose behalf it was read.
        """
        self.tasks.spawn(self.told(run_id, caller), f"leave {run_id}")

    async def told(self, run_id: str, caller: Caller) -> None:
        """Return once the core knows that the client of a run has left, or can't be told."""
        try:
            await self._cancel_run(run_id, pb.CANCEL_CAUSE_FOLLOWER_LEFT, caller)
        except UpstreamError as error:
            if error.code == "NOT_FOUND":
                return  # It has ended and was forgotten in the meantime.
            # The core sees the call's end all the same, and counts it as a broken link. Where it is away, who
            # watches it has said so: once, not for each client that leaves meanwhile.
            _untold.log(
                logger,
                logging.DEBUG if error.code in CORE_AWAY else logging.WARNING,
                "can't tell the core that the client of run %s left: %s",
                run_id,
                error,
                **log_fields(run_id=run_id),
            )

    async def aclose(self) -> None:
        """Tell no longer than for `CLOSE_TIMEOUT_S`."""
        await self.tasks.aclose(CLOSE_TIMEOUT_S)


class BegunSink:
    """Stands for the client that left before its run's id was known, until it is.

    Args:
        begun: Called with the run's id; with an empty one where the run can't be started.
    """

    full = False
    """Whatever comes is dropped."""

    def __init__(self, begun: Callable[[str], None]) -> None:
        self.begin = begun

    def arrived(self, clock: object, recv_nano: int, size_bytes: int) -> None:
        """Drop it."""

    def event(self, epoch: int, sequence: int, event: object) -> None:
        """Drop it."""

    def control(self, control: object) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Write nothing."""

    def end(self, failure: object) -> None:
        """Learn that there is no run to leave."""
        del failure
        self.begin("")
