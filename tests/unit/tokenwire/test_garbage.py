"""When garbage is collected: seldom where it costs much, and always some day."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from tokenwire.garbage import EAGER_SHARE, GROWTH, NEVER, SHARE, YOUNG_OBJECTS, GarbageCollection

LOOK_S = 0.01
TOOK_S = 0.2
"""How long a collection takes by the tests' clock."""


class Machine:
    """A clock, a CPU and a memory as a test wants them. Each collection takes TOOK_S."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.used_s = 0.0
        self.busy = True
        self.allocated = 1_000
        self.collections = 0

    def collected(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2 and phase == "stop":
            self.now_s += TOOK_S
            self.collections += 1

    def cpu_s(self) -> float:
        self.used_s += LOOK_S if self.busy else 0
        return self.used_s


@pytest.fixture(autouse=True)
def as_a_process_begins() -> Iterator[None]:
    """Nothing is frozen, as `tests/conftest.py` has it for the others."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Sees every collection."""
    machine = Machine()
    gc.callbacks.append(machine.collected)
    yield machine
    gc.callbacks.remove(machine.collected)


def collection(machine: Machine) -> GarbageCollection:
    return GarbageCollection(
        look_every_s=LOOK_S,
        clock=lambda: machine.now_s,
        cpu_s=machine.cpu_s,
        blocks=lambda: machine.allocated,
    )


async def looks(machine: Machine, *, promoted: bool = True) -> int:
    """Return how many collections of all objects the next few looks have brought."""
    before = machine.collections
    if promoted:
        gc.collect(1)
    await asyncio.sleep(5 * LOOK_S)
    return machine.collections - before


async def test_what_there_was_before_is_never_looked_at_again(machine: Machine) -> None:
    """As long as the block lasts; then all is as it was."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collection(machine):
        assert gc.get_freeze_count() > frozen + 1_000
        assert gc.get_threshold()[0] == YOUNG_OBJECTS
        assert gc.get_threshold()[2] == NEVER
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)


async def test_a_busy_process_looks_at_all_objects_for_a_small_share_of_its_time(machine: Machine) -> None:
    """However often it is decided."""
    with collection(machine):
        machine.now_s += TOOK_S / SHARE - 1
        assert await looks(machine) == 0
        machine.now_s += 1
        assert await looks(machine) == 1
        machine.now_s += TOOK_S / EAGER_SHARE
        assert await looks(machine) == 0


@pytest.mark.parametrize("reason", ["idle", "grown"])
async def test_an_idle_process_and_one_that_grows_look_sooner(machine: Machine, reason: str) -> None:
    """But not each time, either: a process whose memory only grows would do nothing else."""
    with collection(machine):
        if reason == "idle":
            machine.busy = False
        else:
            machine.allocated = GROWTH * machine.allocated + 1
        assert await looks(machine) == 0
        machine.now_s += TOOK_S / EAGER_SHARE
        assert await looks(machine) == 1


async def test_a_process_in_which_nothing_has_grown_old_does_not_look(machine: Machine) -> None:
    """An idle process sleeps."""
    with collection(machine):
        machine.busy = False
        machine.now_s += 10 * TOOK_S / SHARE
        assert await looks(machine, promoted=False) == 0
        assert await looks(machine) == 1


async def test_garbage_in_a_cycle_is_collected_while_a_process_serves() -> None:
    """Also where it had grown old before it became garbage."""

    class Node:
        itself: object = None

    with GarbageCollection(look_every_s=LOOK_S, cpu_s=lambda: 0.0):
        node = Node()
        node.itself = node
        gc.collect(0)
        gc.collect(1)
        gone = weakref.ref(node)
        del node
        gc.collect(1)
        async with asyncio.timeout(20):
            while gone() is not None:
                await asyncio.sleep(LOOK_S)
