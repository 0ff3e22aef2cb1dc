"""Clients that vanish at random moments, on real processes: nothing of them stays."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.support.processes import Processes

pytestmark = pytest.mark.timeout(330)

CLIENTS = 600

WITHIN_S = 300.0
"""Generous: it takes 30 s on an idle machine."""

OBJECTS_A_CLIENT = 5
"""So few clients say nothing about 200 bytes each: caches still fill, and the allocator takes whole pages.
But one request, stream or call that stays keeps some dozens of objects, and memory of its own."""

BYTES_A_CLIENT = 16_384
"""A stream that stays costs more than that; pages that the allocator took and will use again, less."""


def vanish(processes: Processes, store: str) -> dict[str, Any]:
    """Let the clients come and vanish; return what was measured."""
    options = [
        f"--clients={CLIENTS}",
        "--checkpoints=6",
        "--at-once=32",
        f"--store={store}",
        f"--objects-limit={OBJECTS_A_CLIENT}",
        f"--rss-limit={BYTES_A_CLIENT}",
    ]
    harness = processes.start("vanish", [sys.executable, "-m", "bench.vanish", *options])
    status = harness.wait(WITHIN_S)
    result: dict[str, Any] = json.loads(harness.stdout)
    assert (status, result["not_at_rest"], result["over_limit"]) == (0, {}, {})
    return result


@pytest.mark.parametrize("store", ["memory", pytest.param("redis", marks=[pytest.mark.needs("redis")])])
def test_nothing_stays_of_clients_that_vanish(processes: Processes, store: str) -> None:
    """Runs, followers, tasks, calls, streams, connections, descriptors, bytes and keys are as before."""
    result = vanish(processes, store)
    assert result["whole_answers"] > 0, "some had seen the end"
    last = result["rows"][-1]
    assert last["clients"] == CLIENTS
    for gauge in ("runs", "followers", "strays"):
        assert last["core"][gauge] == 0
    for gauge in ("streams", "connections"):
        assert last["edge"][gauge] == 0
    assert last["edge"]["calls"] == 1, "the link"
    for process in ("core", "edge"):
        for gauge in ("tasks", "calls"):
            assert last[process][gauge] == result["base"][process][gauge]
