"""Which core is asked: for a new run, for one there is. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

from tokenwire.cursor import tag_of
from tokenwire.v1 import agent_service_pb2 as pb


class CoreStatus(Protocol):
    """What is known of a core."""

    @property
    def target(self) -> str:
        """HOST:PORT."""

    @property
    def status(self) -> pb.Core | None:
        """What it has last told of itself; None before the first time."""

    @property
    def answers(self) -> bool:
        """Whether it answered when it was last asked."""

    @property
    def streams(self) -> int:
        """How many streams are read from it."""


AnyStatus = TypeVar("AnyStatus", bound=CoreStatus)


def is_ready(core: CoreStatus) -> bool:
    """Return whether a core starts runs now, as far as is known."""
    return core.answers and core.status is not None and core.status.ready


def is_shared(core: CoreStatus) -> bool:
    """Return whether a core's runs can be followed at others."""
    return core.status is not None and core.status.log_scope == pb.LOG_SCOPE_SHARED


def is_lost_with_process(core: CoreStatus) -> bool:
    """Return whether a core's runs are lost with its process."""
    return core.status is not None and core.status.log_scope == pb.LOG_SCOPE_PROCESS


def for_start(
    cores: Sequence[AnyStatus], session: str, choose: Callable[[int], int] = random.randrange
) -> list[AnyStatus]:
    """Return the cores in the order in which a run is to be started at them: all of them.

    Where the cores share their runs: the less busy one of two that chance has picked, then the other ones.
    Where they do not, a session belongs to one of them, which alone knows its history and its live run: the
    one that rendezvous hashing names among those that are ready.

    Args:
        cores: What is known of each.
        session: Names the session, with its owner.
        choose: Returns a random number below another one.

    Source: https://doi.org/10.1109/71.963420 (two choices)
    """
    ready = [core for core in cores if is_ready(core)]
    others = [core for core in cores if not is_ready(core)]
    others.sort(key=lambda core: core.status is not None)  # those that have not told yet may well be ready
    if len(ready) > 1 and all(map(is_shared, ready)):
        first = _less_busy(ready, choose)
        ready = [first, *(core for core in ready if core is not first)]
    else:
        ready.sort(key=lambda core: _weight(core.target, session), reverse=True)
    return ready + others


def for_run(cores: Sequence[AnyStatus], run_id: str) -> list[AnyStatus]:
    """Return the cores in the order in which they are to be asked for a run: all of them.

    First the one whose incarnation minted the run, then those that share their runs, then those that may
    have been another incarnation when they minted it. Of those that share their runs, the ones that go down
    come after the others: they would only say so.

    Args:
        cores: What is known of each.
        run_id: The run.
    """

    def rank(core: CoreStatus) -> tuple[bool, bool, bool, bool, int]:
        leaving = is_shared(core) and is_draining(core)
        return (
            *(not core.answers, leaving, not minted_here(core, run_id), not is_shared(core)),
            core.streams,
        )

    return sorted(cores, key=rank)


def is_draining(core: CoreStatus) -> bool:
    """Return whether a core is going down, as far as is known."""
    return core.status is not None and core.status.draining


def minted_here(core: CoreStatus, run_id: str) -> bool:
    """Return whether the core's present incarnation minted a run."""
    return core.status is not None and core.status.incarnation == tag_of(run_id)


def _less_busy(cores: Sequence[AnyStatus], choose: Callable[[int], int]) -> AnyStatus:
    """Return the less busy one of two that chance picks."""
    one = choose(len(cores))
    other = (one + 1 + choose(len(cores) - 1)) % len(cores)
    return min(cores[one], cores[other], key=lambda core: core.streams)


def _weight(target: str, session: str) -> bytes:
    """Return a core's weight for a session."""
    return blake2b(f"{target}\n{session}".encode(), digest_size=8).digest()
